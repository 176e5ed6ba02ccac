"""A Redis that is frozen, which accepts connections and never answers, is told as one that is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import ProxyReport, TrafficPlan
from hotswap.traffic import bus as module
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.patience import patient


@pytest.fixture
async def frozen(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisTrafficBus]:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Redis(port=port, socket_timeout=None, socket_connect_timeout=None) as redis:
        yield RedisTrafficBus(redis)
    over.set()
    server.close()


async def first_plan(bus: RedisTrafficBus) -> None:
    await bus._published()


@pytest.mark.parametrize(
    "call",
    [
        lambda bus: bus.proxies(),
        lambda bus: bus.publish(TrafficPlan(1)),
        lambda bus: bus.report(ProxyReport("envoy-0", 1, 0.0)),
        lambda bus: bus.remove_proxy("envoy-0"),
        first_plan,
    ],
)
async def test_no_command_waits_for_it(
    frozen: RedisTrafficBus, call: Callable[[RedisTrafficBus], Awaitable[object]]
) -> None:
    async with asyncio.timeout(patient(20)):
        with pytest.raises(Unavailable, match="Redis does not answer"):
            await call(frozen)
