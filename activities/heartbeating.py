"""What every activity does the same: heartbeat while it works, and say in Temporal's terms what the domain says.

A heartbeat is how a killed worker is noticed within seconds, and how a cancel reaches an activity that waits. A domain
error is final (trying the same again can't help), except `Unavailable`; everything else propagates and is retried.
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
    """Say what this activity waits for; it is sent with the next heartbeats and shown by the Temporal Web UI."""
    _note.get()[0] = text


def heartbeating(
    method: Callable[Params, Coroutine[Any, Any, Result]],
) -> Callable[Params, Coroutine[Any, Any, Result]]:
    """Decorate an activity's method, below `activity.defn`."""

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
    """The same error as Temporal carries it: `type` is its code, the first detail its field problems."""
    details: list[dict[str, Any]] = [asdict(problem) for problem in error.details]
    return ApplicationError(error.message, details, type=error.code, non_retryable=not isinstance(error, Unavailable))


async def _beat(text: list[str]) -> None:
    while True:
        activity.heartbeat(text[0])
        await asyncio.sleep(HEARTBEAT_SECONDS)
