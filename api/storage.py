"""Calls of S3, in threads of their own: an S3 that hangs holds up nobody but who needs it.

The threads that asyncio has for everybody check passwords and resolve the address of every server. They are few, so
some uploads to an S3 that takes connections and never answers would have them all.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from hotswap.domain.errors import Unavailable

AT_ONCE = 8
WAIT_SECONDS = 5.0
"""The wait for a thread: with the time that the client then takes, it is less than Envoy waits for the API."""

P = ParamSpec("P")
T = TypeVar("T")


class StorageCalls:
    """A pool of threads for calls to the storage. Close it in the end."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="storage")
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return or raise what the function does. Raises Unavailable if no thread is free for too long."""
        try:
            await asyncio.wait_for(self._free.acquire(), WAIT_SECONDS)
        except TimeoutError:
            raise Unavailable(
                f"the artifact storage is busy: {AT_ONCE} calls wait for its answer; try again in a moment"
            ) from None
        try:
            call = partial(function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the pool without waiting; calls that have begun run to their end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
