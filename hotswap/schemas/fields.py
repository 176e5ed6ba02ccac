"""The values that people write in requests, manifests and settings: durations, numbers and truth values.

Each is read in one way. Pydantic by itself reads more than anybody means: 5 and "00:05:00" as durations, true and "10"
as numbers, 1 and "yes" as truth values. Here a value is what it looks like, or it is refused with an example of what to
write. What HotSwap stores itself (histories, rows) is written in the same way, so it stays readable.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

import semver
from pydantic import AfterValidator, BeforeValidator, Strict, TypeAdapter, ValidationError

from hotswap.domain.errors import ValidationFailed

_DURATION = re.compile(r"[+-]?P")
_MONTHS = re.compile(r"[+-]?P[^T]*M")
_ISO_8601: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def read_duration(value: Any) -> timedelta:
    """Return a timedelta as it is, and read text as an ISO-8601 duration. Raises ValueError saying what to write."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and _MONTHS.match(value):
        raise ValueError("has months, whose length differs; write days, such as P30D, or PT5M for five minutes")
    if isinstance(value, str) and _DURATION.match(value):
        try:
            return _ISO_8601.validate_python(value)
        except ValidationError:
            pass
    raise ValueError("must be a duration as ISO-8601 writes it, such as PT30S, PT5M or P1D")


def spelled(length: timedelta) -> str:
    """Return the duration as ISO-8601 writes it."""
    text: str = _ISO_8601.dump_python(length, mode="json")
    return text


_EXAMPLES = {
    "float_type": "must be a number, such as 10 or 0.5",
    "finite_number": "must be a finite number, such as 10 or 0.5",
    "int_type": "must be a whole number, such as 3",
    "bool_type": "must be true or false",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def told(problem: Mapping[str, Any]) -> str:
    """Return pydantic's message for one problem, in words that say what to write."""
    key, words = _BOUNDS.get(problem["type"], ("", ""))
    bound = _length(str(problem.get("ctx", {}).get(key)))
    if bound is not None:
        return f"must be {words} {spelled(bound)}"
    return _EXAMPLES.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")


def _length(shown: str) -> timedelta | None:
    """Read a bound that pydantic shows as Python writes a timedelta; None if it is no timedelta."""
    if not shown.startswith("datetime.timedelta("):
        return None
    return timedelta(**{unit: int(number) for unit, number in re.findall(r"(\w+)=(-?\d+)", shown)})


def by_domain(check: Callable[[str], object]) -> AfterValidator:
    """Return a check of the domain as pydantic takes it: its ValidationFailed is a ValueError of the field at hand."""

    def run(value: str) -> str:
        try:
            return str(check(value))
        except ValidationFailed as error:
            raise ValueError(error.details[0].message) from None

    return AfterValidator(run)


def semantic_version(version: str) -> str:
    """Return the version as it is. Raises ValueError saying what to write."""
    if not semver.Version.is_valid(version):
        raise ValueError("must be a semantic version such as 2.0.0 (see semver.org), without a leading 'v'")
    return version


Duration = Annotated[timedelta, BeforeValidator(read_duration)]
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
