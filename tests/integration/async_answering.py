"""Asynchronous inference, answered by a worker's part beside a gateway that says what a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from hotswap.inference.gateway import GatewayAnswer
from hotswap.inference.worker import Answering
from hotswap.persistence.records.async_inference import Limits, NewInference, PostgresAsyncInference
from tests.fixtures.patience import patient

NEW = NewInference("r-1", "fraud", False, {"x-entity-id": "ann"}, '{"features": [1]}', "shop")
LIMITS = Limits(timedelta(minutes=10), waiting=100, waiting_of_caller=50)
PREDICTION = {"requestId": "r-1", "modelName": "fraud", "version": "1.0.0", "prediction": 1, "confidence": 0.9}

Asked = Callable[[str], GatewayAnswer]


class FakeGateway:
    """Answers as a test says, and remembers what it was asked."""

    def __init__(self, answer: Asked = lambda _: GatewayAnswer(True, json.dumps(PREDICTION))) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []

    async def ask(self, request_id: str, path: str, body: str, headers: dict[str, str]) -> GatewayAnswer:
        self.asked.append((request_id, path, body, headers))
        return self.answer(request_id)


@asynccontextmanager
async def at_work(waiting: PostgresAsyncInference, gateway: Any, *, at_once: int = 4) -> AsyncIterator[None]:
    running = asyncio.create_task(Answering(waiting, gateway, at_once=at_once).run())
    try:
        yield
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def ended(waiting: PostgresAsyncInference, request_id: str = "r-1") -> Any:
    async with asyncio.timeout(patient(20)):
        while (seen := await waiting.find(request_id, of=None)).due_at is not None:
            await asyncio.sleep(0.02)
    return seen
