"""The traffic plan on its way down, and the proxies' reports on their way up, over Redis.

Redis only carries them: the plan's truth is in PostgreSQL, and each agent keeps the last plan in files of its own. A
publication is atomic and the newest generation wins, whatever order writers come in.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.domain.traffic import ProxyReport, TrafficPlan

PLAN = "hotswap:traffic:plan"
GENERATION = "hotswap:traffic:generation"
REPORTS = "hotswap:traffic:reports"
RECHECK_SECONDS = 1.0
ANSWER_SECONDS = 2.0
"""How long one command may take. A Redis that accepts and says nothing is as good as away: each has another way."""

_PUBLISH = """
local newest = tonumber(redis.call('GET', KEYS[2]) or '-1')
if tonumber(ARGV[1]) > newest then
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SET', KEYS[2], ARGV[1])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""

_plan_decoder = msgspec.json.Decoder(TrafficPlan)
_report_decoder = msgspec.json.Decoder(ProxyReport)


def encode_plan(plan: TrafficPlan) -> bytes:
    return msgspec.json.encode(plan)


def decode_plan(data: bytes | str) -> TrafficPlan:
    """Decode a plan. Raises msgspec.ValidationError for anything else."""
    try:
        return _plan_decoder.decode(data)
    except ValidationFailed as error:
        raise msgspec.ValidationError(str(error)) from None


class RedisTrafficBus:
    """Implements `hotswap.ports.TrafficBus`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._publish = redis.register_script(_PUBLISH)

    async def publish(self, plan: TrafficPlan) -> None:
        async with answering_soon():
            await self._publish(keys=[PLAN, GENERATION], args=[plan.generation, encode_plan(plan)])

    async def _published(self) -> TrafficPlan | None:
        async with answering_soon():
            data = await self._redis.get(PLAN)
        return None if data is None else decode_plan(data)

    async def plans(self) -> AsyncIterator[TrafficPlan]:
        """Yield the published plan now, and then each newer one.

        Raises Unavailable when Redis goes away; ask again then.
        """
        newest = -1
        with answering():
            async with self._redis.pubsub() as published:
                await published.subscribe(PLAN)
                while True:
                    plan = await self._published()
                    if plan is not None and plan.generation > newest:
                        newest = plan.generation
                        yield plan
                    await _next_message(published, RECHECK_SECONDS)

    async def report(self, report: ProxyReport) -> None:
        async with answering_soon():
            await self._redis.hset(REPORTS, report.proxy, msgspec.json.encode(report).decode())

    async def reports(self) -> list[ProxyReport]:
        async with answering_soon():
            found = await self._redis.hvals(REPORTS)
        return [_report_decoder.decode(data) for data in found]

    async def remove_proxy(self, proxy: str) -> None:
        async with answering_soon():
            await self._redis.hdel(REPORTS, proxy)


async def _next_message(published: PubSub, timeout: float) -> None:  # noqa: ASYNC109
    """Wait for one publication, or for `timeout` seconds; what else is queued by then is taken with it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while (left := deadline - loop.time()) > 0:
        message = await published.get_message(ignore_subscribe_messages=True, timeout=left)
        if message is not None:
            return


@contextlib.asynccontextmanager
async def answering_soon() -> AsyncIterator[None]:
    """Raise Unavailable where Redis does not answer as it should, or not within `ANSWER_SECONDS`."""
    with answering():
        async with asyncio.timeout(ANSWER_SECONDS):
            yield


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Raise Unavailable where Redis does not answer as it should."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {str(error) or 'nothing came in time'}") from error
