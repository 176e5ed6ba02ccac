"""How long a process of ours works: until SIGTERM, and then no longer."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from anyio import CancelScope


async def until_terminated(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` until SIGTERM cancels it, or until it ends.

    A scope cancels again until it is heard, and redis-py loses one cancel in some twenty-five; a task would go on.
    """
    with CancelScope() as scope:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, scope.cancel)
        await work()
