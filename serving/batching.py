"""Dynamic batching: single requests that arrive at nearly the same time become one `predict` of the model.

A batch leaves when it is full, or when its first request has waited long enough; while one is computed, the next one
gathers. A batch that fails is halved and tried again until the failing request is alone, so that no request fails
because of another. A request that nobody awaits any more is left out. (Ray Serve's own `@serve.batch` fails all of a
batch together.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from serving.runtimes import Prediction

Predict = Callable[[list[Any]], Awaitable[list[Prediction]]]
Waiting = tuple[Any, "asyncio.Future[Prediction]", float]
"""An instance, what its caller awaits, and when it came by the event loop's clock."""


class Batcher:
    """`most` instances at a time; `wait` in seconds is what the first of a batch gives the others to come."""

    def __init__(self, predict: Predict, *, most: int, wait: float) -> None:
        self._predict = predict
        self._most = most
        self._wait = wait
        self._waiting: list[Waiting] = []
        self._is_full = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    def add(self, instance: Any) -> "asyncio.Future[Prediction]":
        """Return the future prediction, or the error of `predict` for this instance alone; cancel it to leave."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((instance, future, loop.time()))
        if len(self._waiting) >= self._most:
            self._is_full.set()
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._answer_all())
        return future

    async def _answer_all(self) -> None:
        while self._waiting:
            await self._gather()
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if len(self._waiting) < self._most:
                self._is_full.clear()
            await self._answer([(instance, future) for instance, future, _ in batch if not future.done()])

    async def _gather(self) -> None:
        """Return when a batch is full, or its first has waited for long enough."""
        _, _, since = self._waiting[0]
        left = since + self._wait - asyncio.get_running_loop().time()
        if left > 0 and not self._is_full.is_set():
            try:
                async with asyncio.timeout(left):
                    await self._is_full.wait()
            except TimeoutError:
                pass

    async def _answer(self, batch: Sequence[tuple[Any, "asyncio.Future[Prediction]"]]) -> None:
        if not batch:
            return
        try:
            predictions = await self._predict([instance for instance, _ in batch])
        except Exception as error:  # noqa: BLE001 - a model raises what it likes; it is its caller's
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._answer(batch[:middle])
                await self._answer(batch[middle:])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), prediction in zip(batch, predictions, strict=True):
            if not future.done():
                future.set_result(prediction)
