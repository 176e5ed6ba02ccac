"""A service token is enough to call with: the client exchanges it, once for all calls that begin at the same time."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

from hotswap.client import ApiError, AsyncHotSwap, HotSwap
from hotswap.client.transport import ServiceToken
from tests.fixtures.answers import deployment

SECRET = "hst_1a2b3c4d5e6f_secret"
EXCHANGE = "/api/v1/authentication/token"
AT_ONCE = 20
EXCHANGED = {"access_token": "short", "expires_in": 600}
ASKED = [(EXCHANGE, f"Bearer {SECRET}"), *[("/api/v1/deployments/dep-1", "Bearer short")] * AT_ONCE]


def test_a_service_token_is_exchanged_when_it_takes() -> None:
    now, asked = [0.0], list[tuple[str, str]]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.headers["authorization"]))
        if request.url.path == EXCHANGE:
            assert request.extensions["timeout"]["read"] == 7.0
            return httpx.Response(200, json={"access_token": f"jwt-{len(asked)}", "expires_in": 600})
        return httpx.Response(200, json={})

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://hotswap.test", timeout=7.0) as client:
        client.auth = ServiceToken(SECRET, "http://hotswap.test", clock=lambda: now[0])
        for at in (0.0, 500.0, 541.0):
            now[0] = at
            client.get("/a")
    assert asked == [
        (EXCHANGE, f"Bearer {SECRET}"),
        ("/a", "Bearer jwt-1"),
        ("/a", "Bearer jwt-1"),
        (EXCHANGE, f"Bearer {SECRET}"),
        ("/a", "Bearer jwt-4"),
    ]


def test_threads_that_call_at_once_exchange_it_once() -> None:
    asked: list[tuple[str, str]] = []
    all_here = threading.Barrier(AT_ONCE)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.headers["authorization"]))
        if request.url.path == EXCHANGE:
            time.sleep(0.05)  # the others come meanwhile
            return httpx.Response(200, json=EXCHANGED)
        return httpx.Response(200, json=deployment("Active", 100.0))

    with HotSwap("http://hotswap.test", SECRET, transport=httpx.MockTransport(answer)) as hotswap:

        def ask(_: int) -> None:
            all_here.wait()
            hotswap.deployments.get("dep-1")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(ask, range(AT_ONCE)))
    assert asked == ASKED


async def test_tasks_that_call_at_once_exchange_it_once() -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.headers["authorization"]))
        if request.url.path == EXCHANGE:
            await anyio.sleep(0.01)
            return httpx.Response(200, json=EXCHANGED)
        return httpx.Response(200, json=deployment("Active", 100.0))

    async with AsyncHotSwap("http://hotswap.test", SECRET, transport=httpx.MockTransport(answer)) as hotswap:
        await asyncio.gather(*(hotswap.deployments.get("dep-1") for _ in range(AT_ONCE)))
    assert asked == ASKED


def test_a_thread_waits_for_the_exchange_of_another_no_longer_than_for_an_answer() -> None:
    begun, over = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == EXCHANGE:
            begun.set()
            over.wait(10)
            return httpx.Response(200, json=EXCHANGED)
        return httpx.Response(200, json=deployment("Active", 100.0))

    transport = httpx.MockTransport(answer)
    with HotSwap("http://hotswap.test", SECRET, timeout=0.01, transport=transport) as hotswap:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(hotswap.deployments.get, "dep-1")
            begun.wait(10)
            with pytest.raises(ApiError, match="TIMEOUT"):
                hotswap.deployments.get("dep-1")
            over.set()
        assert first.result().model == "fraud"


async def test_a_task_waits_for_the_exchange_of_another_no_longer_than_for_an_answer() -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == EXCHANGE:
            begun.set()
            await over.wait()
            return httpx.Response(200, json=EXCHANGED)
        return httpx.Response(200, json=deployment("Active", 100.0))

    transport = httpx.MockTransport(answer)
    async with AsyncHotSwap("http://hotswap.test", SECRET, timeout=0.01, transport=transport) as hotswap:
        first = asyncio.create_task(hotswap.deployments.get("dep-1"))
        await begun.wait()
        with pytest.raises(ApiError, match="TIMEOUT"):
            await hotswap.deployments.get("dep-1")
        over.set()
        assert (await first).model == "fraud"


async def test_who_gives_up_during_the_exchange_leaves_it_to_the_next() -> None:
    exchanges = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal exchanges
        if request.url.path == EXCHANGE:
            exchanges += 1
            if exchanges == 1:
                await anyio.sleep_forever()
            return httpx.Response(200, json=EXCHANGED)
        return httpx.Response(200, json=deployment("Active", 100.0))

    async with AsyncHotSwap("http://hotswap.test", SECRET, transport=httpx.MockTransport(answer)) as hotswap:
        with anyio.move_on_after(0.01):
            await hotswap.deployments.get("dep-1")
        assert (await hotswap.deployments.get("dep-1")).model == "fraud"


def test_a_token_that_is_refused_is_told_as_any_error() -> None:
    error = {"error": {"code": "UNAUTHORIZED", "message": "the service token is not valid"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=error))
    with HotSwap("http://hotswap.test/", SECRET, transport=transport) as hotswap:
        for _ in range(2):
            with pytest.raises(ApiError) as told:
                hotswap.models.list()
    assert (told.value.code, told.value.status) == ("UNAUTHORIZED", 401)
    assert SECRET not in str(told.value)


def test_an_exchange_that_cannot_be_read_is_told_without_what_it_said() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"access_token": "short"}))
    with HotSwap("http://hotswap.test/", SECRET, transport=transport) as hotswap, pytest.raises(ApiError) as told:
        hotswap.models.list()
    assert (told.value.code, told.value.status) == ("UNEXPECTED_ANSWER", 200)
    assert "expires_in" in told.value.message
    assert "short" not in told.value.message
