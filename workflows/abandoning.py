"""A wait for an activity that a workflow may give up, because of a command or because its time is over."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def abandoned_at_end(call: "asyncio.Task[Any]") -> Iterator[None]:
    """Cancel the call when the block ends before it is done.

    Nobody awaits it then, and what it still fails with is nobody's: it is looked at here, since asyncio would complain
    in the worker's log of an exception that was never retrieved.
    """
    call.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        yield
    finally:
        if not call.done():
            call.cancel()
