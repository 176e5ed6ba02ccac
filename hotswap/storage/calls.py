"""Calls that wait for S3, in threads of their own, so that an S3 that hangs holds up only callers who need it.

The threads that asyncio has for everybody check passwords and resolve the address of every server. They are few, so
some uploads to an S3 that takes connections and never answers would take them all. Whatever may hang on the network
comes here, and never to `asyncio.to_thread`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from hotswap.domain.errors import Unavailable

AT_ONCE = 8
WAIT_SECONDS = 5.0
"""The longest wait for a thread. With the time that the client then takes, it is less than Envoy waits for the API."""

P = ParamSpec("P")
T = TypeVar("T")


class StorageCalls:
    """At most `at_once` calls at a time. Close it in the end.

    A `patient` caller waits for a thread for as long as it takes; any other one is told that all are busy.
    """

    def __init__(self, at_once: int = AT_ONCE, *, patient: bool = False) -> None:
        self._at_once = at_once
        self._patient = patient
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="storage")
        self._free = asyncio.Semaphore(at_once)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread. Raises what it does, and Unavailable where no thread is free for too long.

        A cancel ends the waiting, not the call: its thread is free again only when the call has ended.
        """
        try:
            async with asyncio.timeout(None if self._patient else WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                f"the artifact storage is busy: {self._at_once} calls wait for its answer; try again in a moment"
            ) from None
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits for a thread any more
                loop.call_soon_threadsafe(self._free.release)

        call = self._threads.submit(function, *args, **kwargs)
        call.add_done_callback(ended)
        return await asyncio.wrap_future(call)

    def close(self) -> None:
        """Start no more calls. Those that have begun go on to their end, and nobody waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)
