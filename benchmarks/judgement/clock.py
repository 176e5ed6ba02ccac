"""Time that passes at once: an event loop on which nobody waits."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks.judgement.world import BEGIN


class _AtOnce(selectors.SelectSelector):
    """A selector that never waits: if nothing is ready, the time to wait for has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class _Here(ThreadPoolExecutor):
    """Does at once what a thread would do beside the loop: no time passes meanwhile."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Clock:
    """An event loop whose time passes at once, and its Unix time."""

    def __init__(self) -> None:
        selector = _AtOnce()
        self.loop = asyncio.SelectorEventLoop(selector)
        self.loop.set_default_executor(_Here())
        self.loop.time = lambda: selector.now  # type: ignore[method-assign]  # that is what the loop waits by

    def __call__(self) -> float:
        return BEGIN + self.loop.time()
