"""Calls of S3 in threads of their own, so that an S3 that hangs holds up only callers who need it.

The threads that asyncio has for everybody check passwords and resolve the address of every server. They are few, so
some uploads to an S3 that takes connections and never answers would take them all.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from hotswap.domain.errors import Unavailable

AT_ONCE = 8
WAIT_SECONDS = 5.0
"""The longest wait for a thread. With the time that the client then takes, it is less than Envoy waits for the API."""

P = ParamSpec("P")
T = TypeVar("T")


class StorageCalls:
    """At most `AT_ONCE` calls at a time. Close it in the end."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="storage")
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread. Raises what it does, and Unavailable where no thread is free for too long."""
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
        """Start no more calls. Those that have begun go on to their end, and nobody waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)
