"""The worker's part that answers asynchronous inference, while its database is away."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from hotswap.domain.errors import Unavailable
from hotswap.inference import worker
from hotswap.inference.gateway import GatewayAnswer
from hotswap.inference.worker import Answering
from hotswap.persistence.records.async_inference import Taken
from tests.fixtures.patience import patient

TAKEN = Taken("r-1", "fraud", False, {}, "{}", attempt=1, accepted_at=datetime(2026, 1, 1, tzinfo=UTC), seconds_left=60)


class Waiting:
    """Rows of which one request is due once. The first look at them and each end of a request fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.given_back: list[str] = []
        self.tried_to_end = asyncio.Event()

    async def time_out(self) -> None:
        self.looks += 1
        if self.looks == 1:
            raise Unavailable("the database doesn't answer")

    async def take(self, _limit: int) -> list[Taken]:
        return [TAKEN] if self.looks == 2 else []

    async def finish(self, *_: Any) -> None:
        self.tried_to_end.set()
        raise Unavailable("the database doesn't answer")

    async def give_back(self, request_id: str, _wait: Any) -> None:
        self.given_back.append(request_id)


class Gateway:
    async def ask(self, *_: Any) -> GatewayAnswer:
        return GatewayAnswer(True, "{}")


async def test_an_answer_that_could_not_be_stored_waits_for_the_end_of_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked again at once, the replica would compute and count it twice: its record is not there yet."""
    monkeypatch.setattr(worker, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)
    waiting: Any = Waiting()
    gateway: Any = Gateway()
    running = asyncio.create_task(Answering(waiting, gateway, at_once=4).run())
    async with asyncio.timeout(patient(10)):
        await waiting.tried_to_end.wait()
        seen = waiting.looks
        while waiting.looks < seen + 3:
            await asyncio.sleep(0.01)
    assert waiting.given_back == []
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
