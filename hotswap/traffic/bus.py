"""The traffic plan on its way down, and the proxies' reports on their way up, over Redis.

Redis only carries them: the plan's truth is in PostgreSQL, and each agent keeps the last plan in files of its own. A
publication is atomic and the newest plan wins, whatever order writers come in. The plan of another installation is
never replaced: two installations need two Redis databases.

A proxy's report renews its lease, which Redis measures by its own clock. While a lease runs, nobody else reports under
the proxy's name.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy, name_taken
from hotswap.domain.traffic import PlanNumber, ProxyReport, TrafficPlan

PLAN = "hotswap:traffic:plan"
GENERATION = "hotswap:traffic:generation"
LINEAGE = "hotswap:traffic:lineage"
INSTALLATION = "hotswap:traffic:installation"
REPORTS = "hotswap:traffic:reports"
LEASES = "hotswap:traffic:leases"
KEYS = (PLAN, GENERATION, LINEAGE, INSTALLATION, REPORTS, LEASES)
RECHECK_SECONDS = 1.0
ANSWER_SECONDS = 2.0
"""How long one command may take. A Redis that accepts and says nothing is as good as away: each has another way."""

# Returns the installation whose plan Redis has, where that is another one; else nothing.
_PUBLISH = """
local installation = redis.call('GET', KEYS[4])
if installation and ARGV[4] ~= '' and installation ~= ARGV[4] then
    return installation
end
local lineage = tonumber(redis.call('GET', KEYS[3]) or '0')
local generation = tonumber(redis.call('GET', KEYS[2]) or '-1')
local given_lineage, given_generation = tonumber(ARGV[3]), tonumber(ARGV[1])
if given_lineage > lineage or (given_lineage == lineage and given_generation > generation) then
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SET', KEYS[2], ARGV[1])
    redis.call('SET', KEYS[3], ARGV[3])
    if ARGV[4] ~= '' then
        redis.call('SET', KEYS[4], ARGV[4])
    end
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return false
"""

# A lease is an incarnation and the time of its last renewal. Returns for how many seconds another incarnation still
# holds the name, where one does; else nothing.
_REPORT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local lease = redis.call('HGET', KEYS[2], ARGV[1])
if lease then
    local holder, renewed_at = string.match(lease, '^(%S*) (%S+)$')
    local left = tonumber(string.match(renewed_at, '^[%d.]+')) + tonumber(ARGV[3]) - now
    if holder ~= '' and holder ~= ARGV[2] and left > 0 and left <= tonumber(ARGV[3]) then
        return tostring(left)
    end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. string.format('%.6f', now))
return false
"""

# Returns each proxy's report, followed by the seconds since its lease was renewed. An agent of a release without leases
# only writes its report: whenever that has changed, it has renewed a lease that nobody holds.
_PROXIES = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local found = {}
local reports = redis.call('HGETALL', KEYS[1])
for place = 1, #reports, 2 do
    local proxy, report = reports[place], reports[place + 1]
    local holder, renewed_at = string.match(redis.call('HGET', KEYS[2], proxy) or ' 0', '^(%S*) (%S+)$')
    if holder == '' or not string.find(report, '"incarnation":"' .. holder .. '"', 1, true) then
        local seen = string.match(renewed_at, '|(.*)$')
        local content = redis.sha1hex(report)
        if seen ~= content then
            renewed_at = string.format('%.6f|%s', now, content)
            redis.call('HSET', KEYS[2], proxy, ' ' .. renewed_at)
        end
    end
    table.insert(found, report)
    table.insert(found, tostring(math.max(0, now - tonumber(string.match(renewed_at, '^[%d.]+')))))
end
return found
"""

# Removes a proxy, but with an incarnation given only if that holds the name. Returns whether it was there.
_REMOVE = """
local lease = redis.call('HGET', KEYS[2], ARGV[1])
if ARGV[2] ~= '' and lease and string.match(lease, '^(%S*) ') ~= ARGV[2] then
    return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
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
        self._report = redis.register_script(_REPORT)
        self._proxies = redis.register_script(_PROXIES)
        self._remove = redis.register_script(_REMOVE)

    async def publish(self, plan: TrafficPlan) -> None:
        keys = [PLAN, GENERATION, LINEAGE, INSTALLATION]
        async with answering_soon():
            other = await self._publish(
                keys=keys, args=[plan.generation, encode_plan(plan), plan.lineage, plan.installation]
            )
        if other is not None:
            raise Unavailable(
                f"Redis has the traffic plan of another installation ({other.decode()}), and this one is "
                f"{plan.installation}: give each a Redis database of its own (HOTSWAP_REDIS__URL)"
            )

    async def _published(self) -> TrafficPlan | None:
        async with answering_soon():
            data = await self._redis.get(PLAN)
        return None if data is None else decode_plan(data)

    async def plans(self) -> AsyncIterator[TrafficPlan]:
        """Yield the published plan now, and then each newer one.

        Raises Unavailable when Redis goes away; ask again then.
        """
        newest: PlanNumber | None = None
        with answering():
            async with self._redis.pubsub() as published:
                await published.subscribe(PLAN)
                while True:
                    plan = await self._published()
                    if plan is not None and (newest is None or plan.number > newest):
                        newest = plan.number
                        yield plan
                    await _next_message(published, RECHECK_SECONDS)

    async def report(self, report: ProxyReport) -> None:
        told = msgspec.json.encode(report).decode()
        async with answering_soon():
            left = await self._report(
                keys=[REPORTS, LEASES], args=[report.proxy, report.incarnation, LEASE_SECONDS, told]
            )
        if left is not None:
            raise name_taken(report.proxy, left=float(left))

    async def proxies(self) -> list[RegisteredProxy]:
        async with answering_soon():
            found = await self._proxies(keys=[REPORTS, LEASES])
        return [
            RegisteredProxy(_report_decoder.decode(report), float(silent_for))
            for report, silent_for in zip(found[::2], found[1::2], strict=True)
        ]

    async def remove_proxy(self, proxy: str, *, incarnation: str = "") -> bool:
        async with answering_soon():
            return bool(await self._remove(keys=[REPORTS, LEASES], args=[proxy, incarnation]))


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
