"""Inputs and answers of models of tables.

They take so many features an instance, in a list, or by name if the model knows their names. They answer a label with
its probability, or a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.runtimes import Prediction

DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}

NUMBER_OR_MISSING: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "null"}]}
"""The schema of models that know what to do if a value is missing."""


@dataclass(frozen=True, slots=True)
class RowColumns:
    """The features of one instance, in their order; `value` is the JSON Schema of each. Without `names` by position."""

    number: int
    names: tuple[str, ...]
    value: dict[str, Any]

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of one instance."""
        row = {"type": "array", "items": self.value, "minItems": self.number, "maxItems": self.number}
        if not self.names:
            return DIALECT | row
        by_name = {
            "type": "object",
            "properties": dict.fromkeys(self.names, self.value),
            "required": list(self.names),
            "additionalProperties": False,
        }
        return {**DIALECT, "anyOf": [by_name, row]}

    def rows(self, instances: Sequence[Any]) -> list[list[Any]]:
        """Return each instance as a list, in the model's order."""
        return [[each[name] for name in self.names] if isinstance(each, dict) else each for each in instances]


def classified(probabilities: Sequence[Sequence[float]], labels: Sequence[Any] | None = None) -> list[Prediction]:
    """Return the likeliest label of each row with its probability; without `labels` a label is its position."""
    found = []
    for row in probabilities:
        best = max(range(len(row)), key=row.__getitem__)
        found.append(Prediction(best if labels is None else labels[best], row[best]))
    return found


def of_two(probabilities: Sequence[float]) -> list[Prediction]:
    """Return 1 where it is likelier than 0, otherwise 0."""
    return [Prediction(1, each) if each > 0.5 else Prediction(0, 1 - each) for each in probabilities]


def valued(values: Sequence[Any]) -> list[Prediction]:
    return [Prediction(each, None) for each in values]
