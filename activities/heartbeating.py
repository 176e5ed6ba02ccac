"""The base of every activity: it heartbeats while it works, and raises domain errors as Temporal's.

By the heartbeats a killed worker is noticed within seconds, and a cancel reaches an activity that waits. A domain error
is final, since a retry can't help, except for `Unavailable`. Every other error propagates and is retried.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import asdict
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import HotSwapError, Unavailable

HEARTBEAT_SECONDS = 1.0

Params = ParamSpec("Params")
Result = TypeVar("Result")

_note: ContextVar[list[str]] = ContextVar("note")


def heartbeat_note(text: str) -> None:
    """Set the text of the next heartbeats: what this activity waits for. The Temporal Web UI shows it."""
    _note.get()[0] = text


def heartbeating(
    method: Callable[Params, Coroutine[Any, Any, Result]],
) -> Callable[Params, Coroutine[Any, Any, Result]]:
    """Heartbeat while an activity's method runs; decorates it, below `activity.defn`."""

    @wraps(method)
    async def run(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        text = [""]
        token = _note.set(text)
        heart = asyncio.create_task(_beat(text))
        try:
            return await method(*args, **kwargs)
        except HotSwapError as error:
            raise application_error(error) from error
        finally:
            heart.cancel()
            _note.reset(token)

    return run


def application_error(error: HotSwapError) -> ApplicationError:
    """Convert a domain error to Temporal's: `type` is its code, and the first detail its field problems."""
    details: list[dict[str, Any]] = [asdict(problem) for problem in error.details]
    return ApplicationError(error.message, details, type=error.code, non_retryable=not isinstance(error, Unavailable))


async def _beat(text: list[str]) -> None:
    while True:
        activity.heartbeat(text[0])
        await asyncio.sleep(HEARTBEAT_SECONDS)
