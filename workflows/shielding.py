"""Work that no cancel interrupts, such as a rollback.

A second cancel, an abort or a deadline that arrives while things are being undone must not leave them half undone:
`await asyncio.shield(compensate())` alone loses the rest of the compensation to a cancel, so the wait is taken up again
until the work has ended.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end whatever cancels arrive meanwhile; what the work itself raises is raised."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
        except BaseException:
            if not task.done():  # not the work's own: the worker evicts this workflow
                raise
    return task.result()
