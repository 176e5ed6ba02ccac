"""Calls of S3 that hang take threads of their own, and a thread is free again only when its call has ended."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from hotswap.domain.errors import Unavailable
from hotswap.storage.calls import StorageCalls
from tests.fixtures.patience import patient, until


class Hanging:
    """A call that ends when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.released = threading.Event()

    def __call__(self) -> str:
        self.begun += 1
        self.released.wait()
        return "answered"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.released.set()


async def test_the_threads_of_everybody_are_free_while_all_of_these_hang(hanging: Hanging) -> None:
    calls = StorageCalls(4, patient=True)
    stuck = [asyncio.create_task(calls.run(hanging)) for _ in range(100)]
    await until(lambda: hanging.begun == 4)
    async with asyncio.timeout(patient(5)):
        assert await asyncio.to_thread(lambda: "at once") == "at once"
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    assert hanging.begun == 4
    hanging.released.set()
    assert await asyncio.gather(*stuck) == ["answered"] * 100, "a patient caller waits for its thread"
    calls.close()


async def test_a_cancel_frees_no_thread_whose_call_goes_on(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotswap.storage.calls.WAIT_SECONDS", 0.05)
    calls = StorageCalls(2)
    for given_up in [asyncio.create_task(calls.run(hanging)) for _ in range(2)]:
        await until(lambda: hanging.begun == 2)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    with pytest.raises(Unavailable, match="2 calls wait for its answer"):
        await calls.run(hanging)
    assert hanging.begun == 2, "nothing is put behind a call that hangs"
    hanging.released.set()

    async def is_free() -> bool:
        try:
            return await calls.run(lambda: True)
        except Unavailable:
            return False

    await until(is_free)
    calls.close()


async def test_what_a_call_raises_is_raised_and_its_thread_is_free_again() -> None:
    calls = StorageCalls(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await calls.run(lambda: 1 / 0)
    calls.close()
