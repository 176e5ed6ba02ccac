"""The inputs of a workflow's updates and signals, read into messages.

Temporal drops a malformed signal with a log line only, and a typed handler that gets the wrong number of inputs fails
its workflow's tasks for ever. So handlers take whatever comes (`*inputs: Any`) and read it here, with pydantic: an
update is refused with the field named, and a signal's problem is noted where people look. The message's model decides
what a missing input means.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import ValidationFailed
from hotswap.messages import Abort
from hotswap.process.temporal import describe
from hotswap.schemas.base import Message

Kind = TypeVar("Kind", bound=Message)


def read(kind: type[Kind], inputs: Sequence[Any]) -> Kind:
    """Read one message of this kind from the inputs of a handler.

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


def read_abort(kind: type[Abort], inputs: Sequence[Any]) -> Abort:
    """Read an abort, which is never refused: one that is malformed aborts all the same, and says so as its reason."""
    try:
        return read(kind, inputs)
    except ApplicationError as error:
        return kind(reason=f"what was said could not be read ({error.message[:1000]})")


def malformed(message: str) -> ApplicationError:
    return ApplicationError(message, type=ValidationFailed.code, non_retryable=True)
