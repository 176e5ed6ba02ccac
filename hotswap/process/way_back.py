"""The mark of work that takes traffic back: an abort, a rollback, and what a deployment does on its way back.

It travels with the work, through all that is called, so that each adapter of a store that can run short of connections
gives such work those that are kept for it alone (`hotswap/persistence/platform/database.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_marked = ContextVar("way back", default=False)


@contextmanager
def on_the_way_back() -> Iterator[None]:
    """Mark what is done in this block, and the tasks that it starts."""
    token = _marked.set(True)
    try:
        yield
    finally:
        _marked.reset(token)


def is_on_the_way_back() -> bool:
    """Return whether this is such work."""
    return _marked.get()
