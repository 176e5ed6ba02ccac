"""A model's input schema at work: features checked against it, and features made up from it."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import jsonschema_rs

from hotswap.domain.errors import FieldProblem as Problem
from hotswap.domain.errors import SchemaValidationFailed

MOST_PROBLEMS = 5


class FeatureSchema:
    """JSON Schema of one request's `features`, compiled once."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._all = jsonschema_rs.validator_for(schema)
        self._all_but_ranges = jsonschema_rs.validator_for(_without_ranges(schema))

    def check(self, features: Any, field: str) -> None:
        """Raises SchemaValidationFailed that names what doesn't fit by its path below `field`."""
        self._check(self._all, features, field)

    def check_quickly(self, features: Any, field: str) -> None:
        """`check` without the ranges of fractions, for a model that raises ArithmeticError instead.

        Comparing with such bounds takes longer than the whole rest of an inference by a small model.
        """
        self._check(self._all_but_ranges, features, field)

    def _check(self, validator: Any, features: Any, field: str) -> None:
        try:
            if validator.is_valid(features):
                return
            misfits = list(islice(self._all.iter_errors(features), MOST_PROBLEMS))
        except ValueError as error:  # nested deeper than the validator goes
            raise SchemaValidationFailed.of(field, str(error)) from None
        problems = [Problem(field + _path(misfit.instance_path), misfit.message[:200]) for misfit in misfits]
        first = problems[0]
        raise SchemaValidationFailed(f"{first.field} doesn't fit the model's schema: {first.message}", *problems)


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
    """Features that fit a schema which a runtime has made; sizes that are free come out as one.

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
