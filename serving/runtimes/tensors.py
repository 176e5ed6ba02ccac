"""The tensors that a graph takes, as JSON: the schema of one instance, and the arrays of many.

One tensor is its value; several are an object by their names. The first dimension is the batch. A tensor of one value
an instance, with a dimension for it or without, is a bare value in JSON: a column. The bounds of its type are in the
schema, since what a type can't hold must be the client's error and never a number that silently became another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotswap.domain.errors import SchemaValidationFailed, ValidationFailed
from serving.runtimes import Prediction
from serving.runtimes.rows import DIALECT

_MOST_DIMENSIONS = 4
"""Below the first of an instance whose dimensions nobody knows."""


@dataclass(frozen=True, slots=True)
class TensorInput:
    """`sizes` are one instance's dimensions, of which None is a free one; None for all where nobody knows them."""

    name: str
    dtype: np.dtype[Any]
    sizes: tuple[int | None, ...] | None

    @property
    def is_column(self) -> bool:
        return self.sizes in {(), (1,)}

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of one instance."""
        found = _value_schema(self.dtype)
        if self.sizes is None:
            value = found
            for _ in range(_MOST_DIMENSIONS):
                found = {"anyOf": [value, {"type": "array", "items": found}]}
            return {"type": "array", "items": found}
        for size in () if self.is_column else reversed(self.sizes):
            bounds = {} if size is None else {"minItems": size, "maxItems": size}
            found = {"type": "array", "items": found, **bounds}
        return found

    @np.errstate(over="raise")  # as a decorator: a `with` costs more than the array
    def array(self, instances: Sequence[Any]) -> Any:
        """Return the batch of instances, which fit the schema except for the ranges of fractions.

        Raises ArithmeticError when a number is beyond the type's range, ValueError when rows have different lengths.
        """
        values = np.asarray(instances, dtype=self.dtype)
        return values.reshape(-1, 1) if self.sizes == (1,) else values


RunModel = Callable[[list[Any]], list[Prediction]]
"""A function from the arrays of a batch, one for each input in their order, to a prediction per instance."""


@dataclass(frozen=True, slots=True)
class TensorInputs:
    """`takes_one` says that a batch has one instance: what was exported without a free batch dimension."""

    tensors: tuple[TensorInput, ...]
    takes_one: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of one instance."""
        by_name = {
            "type": "object",
            "properties": {each.name: each.schema for each in self.tensors},
            "required": [each.name for each in self.tensors],
            "additionalProperties": False,
        }
        if len(self.tensors) > 1:
            return DIALECT | by_name
        (only,) = self.tensors
        return DIALECT | ({"anyOf": [only.schema, by_name]} if only.is_column else only.schema)

    def predict(self, instances: Sequence[Any], run: RunModel) -> list[Prediction]:
        """Call `run` with all instances if they make a batch, otherwise with one after the other."""
        if len(instances) > 1 and self.takes_one:
            return self._one_by_one(instances, run)
        try:
            arrays = self._arrays(instances)
        except ValueError as error:  # where sizes are free, instances may differ, but not the rows of one
            if len(instances) > 1:
                return self._one_by_one(instances, run)
            raise SchemaValidationFailed.of("features", f"its rows must have one length: {error}") from None
        return run(arrays)

    def _one_by_one(self, instances: Sequence[Any], run: RunModel) -> list[Prediction]:
        return [prediction for instance in instances for prediction in self.predict([instance], run)]

    def _arrays(self, instances: Sequence[Any]) -> list[Any]:
        if len(self.tensors) > 1:
            return [tensor.array([each[tensor.name] for each in instances]) for tensor in self.tensors]
        (only,) = self.tensors
        if only.is_column:
            instances = [each[only.name] if isinstance(each, dict) else each for each in instances]
        return [only.array(instances)]


def graph_inputs(tensors: Sequence[tuple[str, np.dtype[Any], Sequence[int | None]]]) -> TensorInputs:
    """Return the inputs of names, types and shapes with their batch dimension; None is a free size.

    Raises ValidationFailed naming `artifactPath` for a shape that can't answer one request.
    """
    found = []
    for name, dtype, shape in tensors:
        if not shape:
            raise ValidationFailed.of("artifactPath", f"the graph's input {name} has no batch dimension; export one")
        if shape[0] not in {None, 1}:
            raise ValidationFailed.of(
                "artifactPath",
                f"the graph's input {name} takes batches of {shape[0]} only; export a free dimension or 1",
            )
        found.append(TensorInput(name, dtype, tuple(shape[1:])))
    return TensorInputs(tuple(found), any(shape[0] == 1 for _, _, shape in tensors))


def single(value: Any) -> Any:
    """Return the value itself where a list holds a single one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _value_schema(dtype: np.dtype[Any]) -> dict[str, Any]:
    if np.issubdtype(dtype, np.integer):
        whole = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(whole.min), "maximum": int(whole.max)}
    if np.issubdtype(dtype, np.floating):
        real = np.finfo(dtype)
        return {"type": "number", "minimum": float(real.min), "maximum": float(real.max)}
    return {"type": "boolean" if dtype == np.bool_ else "string"}
