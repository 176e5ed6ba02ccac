"""A model's input schema at work: features checked against it, and features made up from it."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from hotswap.domain.errors import FieldProblem as Problem
from hotswap.domain.errors import SchemaValidationFailed

MOST_PROBLEMS = 5
MOST_NAME = 100


class FeatureSchema:
    """JSON Schema of one request's `features`, compiled once."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._all = jsonschema_rs.validator_for(schema, mask="it")
        self._all_but_ranges = jsonschema_rs.validator_for(_without_ranges(schema), mask="it")

    def check(self, features: Any, field: str) -> None:
        """Check the features. Raises SchemaValidationFailed with the path of a misfit below `field`."""
        self._check(self._all, features, field)

    def check_quickly(self, features: Any, field: str) -> None:
        """Check all but the ranges of fractions, for a model that raises ArithmeticError instead.

        Comparing with such bounds takes longer than the whole rest of an inference by a small model.
        """
        self._check(self._all_but_ranges, features, field)

    def _check(self, validator: Any, features: Any, field: str) -> None:
        try:
            if validator.is_valid(features):
                return
            misfits = islice((each for one in self._all.iter_errors(features) for each in _meant(one)), MOST_PROBLEMS)
            problems = [Problem(field + path, told) for path, told in map(_told, misfits)]
        except ValueError as error:  # nested deeper than the validator goes
            raise SchemaValidationFailed.of(field, str(error)) from None
        first = problems[0]
        raise SchemaValidationFailed(f"{first.field} doesn't fit the model's schema: {first.message}", *problems)


def _meant(misfit: Any) -> list[Any]:
    """Return the misfit to the form that the features come nearest to, by their types."""
    if not isinstance(misfit.kind, Kind.AnyOf):
        return [misfit]
    forms = [[each for one in form for each in _meant(one)] for form in misfit.kind.context]
    alike = [form for form in forms if not any(_is_other_kind(each, misfit) for each in form)]
    return min(alike, key=len) if alike else [misfit]


def _is_other_kind(each: Any, misfit: Any) -> bool:
    return isinstance(each.kind, Kind.Type | Kind.AnyOf) and each.instance_path == misfit.instance_path


def _told(misfit: Any) -> tuple[str, str]:
    """Return where and why the features don't fit; of their content only names are told."""
    at, kind = _path(misfit.instance_path), misfit.kind
    match kind:
        case Kind.Required():
            return f"{at}.{kind.property}", "is required"
        case Kind.AdditionalProperties():
            return f"{at}.{kind.unexpected[0][:MOST_NAME]}", "is no feature of the model"
        case Kind.AnyOf():
            wanted = [name for form in kind.context for each in form for name in getattr(each.kind, "types", ())]
            return at, f"must be {_words(wanted)}"
        case Kind.Type():
            return at, f"must be {_words(kind.types)}"
        case Kind.MinItems():
            return at, f"must have at least {kind.limit} values"
        case Kind.MaxItems():
            return at, f"must have at most {kind.limit} values"
        case Kind.Minimum():
            return at, f"must be at least {kind.limit:g}"
        case Kind.Maximum():
            return at, f"must be at most {kind.limit:g}"
    return at, misfit.message[:200]


_WORDS = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "an object of values by name",
}


def _words(types: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(_WORDS[each] for each in types)) or "one of the forms that the schema has"


def _without_ranges(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_ranges(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"minimum", "maximum"} if schema.get("type") == "number" else set()
    return {key: _without_ranges(value) for key, value in schema.items() if key not in dropped}


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def example(schema: dict[str, Any]) -> Any:
    """Make up features that fit a schema of a runtime; free sizes become 1.

    Numbers are 1 and integers 0: a vector of zeros has no direction, and an index of 0 exists in every table.
    """
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name]) for name in schema["required"]}
        case "array" if "prefixItems" in schema:
            return [example(each) for each in schema["prefixItems"]]
        case "array":
            return [example(schema["items"])] * schema.get("minItems", 1)
        case "number":
            return 1.0
        case "integer":
            return 0
        case "boolean":
            return True
        case "string":
            return "a"
    return example(schema["anyOf"][0])
