"""The base of every body, and the types of text and times that several hold."""

import math
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
_SURROGATE = re.compile("[\ud800-\udfff]")


MOST_NESTING = 32
MOST_NAME = 100
"""The most characters of a field's name that are told, as its sender chose it."""


BodyPlace = tuple[int | str, ...]


class _NotPlain(Exception):
    def __init__(self, at: BodyPlace, problem: str) -> None:
        self.at = at
        self.problem = problem


def _check_plain(value: Any, at: BodyPlace = ()) -> None:
    """Check for what JSON or PostgreSQL can't hold. Raises _NotPlain with its place."""
    if len(at) > MOST_NESTING:
        raise _NotPlain(at[:1], f"is nested more than {MOST_NESTING} deep")
    match value:
        case str():
            if "\0" in value or _SURROGATE.search(value):
                raise _NotPlain(at, "has a NUL character or half a surrogate pair")
        case float():
            if not math.isfinite(value):
                raise _NotPlain(at, "is a number that is not finite, which JSON doesn't have; use null or leave it out")
        case dict():
            for key, inner in value.items():
                _check_plain(key, at)  # a bad name is its object's problem: it can't be told by itself
                _check_plain(inner, (*at, key[:MOST_NAME] if isinstance(key, str) else str(key)))
        case list():
            for position, inner in enumerate(value):
                _check_plain(inner, (*at, position))


Text = Annotated[str, StringConstraints(max_length=2_000)]


Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


REQUEST_ID = r"^[\x20-\x7e]{1,128}$"


def _iso_time(value: Any) -> Any:
    if not isinstance(value, datetime) and not (isinstance(value, str) and _TIME.match(value)):
        raise ValueError("must be a time as ISO-8601 writes it, such as 2026-12-27T06:00:00Z")
    return value


# Pydantic takes numbers too, as seconds since 1970; nobody who sends one means that.
Time = Annotated[AwareDatetime, BeforeValidator(_iso_time)]


class Body(BaseModel):
    """The base of all bodies: strict, camelCase, and free of what can't be stored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )

    def __init__(self, **fields: Any) -> None:
        """Take the fields by their names in Python or in JSON. A body that is read must have JSON's names."""
        known = type(self).model_fields
        spelled = {(known[name].alias or name) if name in known else name: value for name, value in fields.items()}
        self.__pydantic_validator__.validate_python(spelled, self_instance=self)

    # Says to pydantic that reading doesn't go through here: the API takes JSON's names only.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object to send, without fields that were left out or are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        try:
            _check_plain(value)
        except _NotPlain as found:
            problem = InitErrorDetails(
                type=PydanticCustomError("not_plain", "{problem}", {"problem": found.problem}), loc=found.at, input=None
            )
            raise ValidationError.from_exception_data(cls.__name__, [problem]) from None
        return value
