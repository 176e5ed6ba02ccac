"""What people say to a running workflow: each kind of message is an update that answers and a signal that doesn't.

Temporal drops a malformed signal with a log line only, and a typed handler that gets the wrong number of inputs fails
its workflow's tasks for ever. So handlers here take whatever comes and read it with pydantic: an update is refused
with the field named, a signal's problem is noted where people look. The model decides what a missing input means.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import ValidationFailed
from hotswap.messages import Answer
from hotswap.process.temporal import describe
from hotswap.schemas.base import Message

Kind = TypeVar("Kind", bound=Message)


class Listener(Protocol):
    """A workflow that people speak to."""

    def hear(self, verb: str, request: Any) -> Answer:
        """Do what was said, or say why not."""

    def could_not_read(self, verb: str, problem: ApplicationError) -> Message | None:
        """Note it; a verb that must not be lost answers what to do instead."""


def verb(name: str, kind: type[Message], description: str) -> tuple[Any, Any]:
    """The update and the signal of one verb, both for a class that is a `Listener`."""

    @workflow.update(name=name, description=description)
    async def update(self: Listener, *inputs: Any) -> Answer:
        return self.hear(name, _read_or_else(self, name, kind, inputs, answers=True))

    @workflow.signal(name=name, description=description)
    async def signal(self: Listener, *inputs: Any) -> None:
        request = _read_or_else(self, name, kind, inputs, answers=False)
        if request is not None:
            self.hear(name, request)

    return update, signal


def _read_or_else(
    listener: Listener, name: str, kind: type[Message], inputs: Sequence[Any], *, answers: bool
) -> Message | None:
    try:
        return read(kind, inputs)
    except ApplicationError as error:
        instead = listener.could_not_read(name, error)
        if instead is None and answers:
            raise
        return instead


def read(kind: type[Kind], inputs: Sequence[Any]) -> Kind:
    """One message of the wanted kind from the inputs of a handler.

    Raises ApplicationError of type VALIDATION_ERROR naming the field: the only error that an update may raise without
    failing the workflow's task.
    """
    if len(inputs) > 1:
        raise malformed(f"{kind.__name__} takes one JSON object, not {len(inputs)} inputs")
    given = inputs[0] if inputs else {}
    if not isinstance(given, dict):
        raise malformed(f'{kind.__name__} takes a JSON object such as {{"by": "ann"}}')
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise malformed(f"{kind.__name__}: {describe(error)}") from None


def malformed(message: str) -> ApplicationError:
    return ApplicationError(message, type=ValidationFailed.code, non_retryable=True)
