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
        self._validator = jsonschema_rs.validator_for(schema)

    def check(self, features: Any, field: str) -> None:
        """Raises SchemaValidationFailed that names what doesn't fit by its path below `field`."""
        try:
            if self._validator.is_valid(features):
                return
            misfits = list(islice(self._validator.iter_errors(features), MOST_PROBLEMS))
        except ValueError as error:  # nested deeper than the validator goes
            raise SchemaValidationFailed.of(field, str(error)) from None
        problems = [Problem(field + _path(misfit.instance_path), misfit.message[:200]) for misfit in misfits]
        first = problems[0]
        raise SchemaValidationFailed(f"{first.field} doesn't fit the model's schema: {first.message}", *problems)


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def example(schema: dict[str, Any]) -> Any:
    """Features that fit a schema which a runtime has made; sizes that are free come out as one.

    Numbers are 1 and integers 0: a vector of zeros has no direction, and an index of 0 exists in every table.
    """
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name]) for name in schema["required"]}
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
