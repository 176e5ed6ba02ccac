"""What people say to a running workflow: each kind of message is an update that answers and a signal that doesn't.

Temporal drops a malformed signal with a log line only, and a typed handler that gets the wrong number of inputs fails
its workflow's tasks for ever. So handlers here take whatever comes and read it with pydantic: an update is refused
with the field named, a signal's problem is noted where people look. The model decides what a missing input means.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import ValidationFailed
from hotswap.messages import Message
from hotswap.temporal import describe

Kind = TypeVar("Kind", bound=Message)


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
