"""Tensors that a model takes and answers.

A runtime that knows its tensors by name says so (`LoadedModel.inputs` and `LoadedModel.outputs`; ONNX's does).
Otherwise they follow from the input schema (one tensor for each feature that has a name, or one of all features) and
from the model's answers during warm-up. A request of one tensor is always understood, whatever the tensor's name is, if
each of its rows is an instance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotswap.domain.errors import ValidationFailed
from serving.open_inference.tensors import BYTES, DATATYPES, as_array, rows
from serving.runtimes import LoadedModel, Prediction
from serving.runtimes.tensors import TensorInput

ONE_INPUT, ONE_OUTPUT, CONFIDENCE = "features", "prediction", "confidence"
_DATATYPE_OF = {"boolean": "BOOL", "integer": "INT64", "number": "FP64", "string": BYTES}

Arrays = Mapping[str, np.ndarray[Any, Any]]
JsonSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as metadata tells it: -1 is a size that is free, as the first, the batch's, always is."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature:
    """One model's tensors. `outputs` are None until it has answered something, if its runtime doesn't know them."""

    def __init__(self, model: LoadedModel, input_schema: dict[str, Any]) -> None:
        self._by_name, self._alone = _forms(input_schema)
        declared: Sequence[TensorInput] = getattr(model, "inputs", ())
        self.inputs = tuple(map(_declared, declared)) or _from_schema(self._by_name, self._alone)
        known: Sequence[TensorInput] = getattr(model, "outputs", ())
        self._answer = known[0] if known else None
        self._learned: tuple[Tensor, ...] = ()

    def learn(self, predictions: Sequence[Prediction]) -> None:
        """Learn the model's outputs from the answers that it has just given."""
        if predictions:
            self._learned = tuple(
                Tensor(name, DATATYPES[array.dtype], (-1, *array.shape[1:]))
                for name, array in self.answered(predictions[:1]).items()
            )

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        if self._answer is None:
            return self._learned or (Tensor(ONE_OUTPUT, "FP64", (-1,)),)
        return (_declared(self._answer), *(each for each in self._learned if each.name == CONFIDENCE))

    def described(self) -> list[dict[str, Any]]:
        """Return the tensors of the answers, as an output schema keeps them (`hotswap.domain.contract.OUTPUTS`).

        Sizes that were only learned depend on the requests that were made; the number of dimensions doesn't.
        """
        declared = None if self._answer is None else self._answer.name
        return [
            {
                "name": each.name,
                "datatype": each.datatype,
                "shape": list(each.shape) if each.name == declared else [-1] * len(each.shape),
            }
            for each in self.outputs
        ]

    def check_number(self, tensors: int) -> None:
        """Check the number of tensors before any is read. Raises ValidationFailed."""
        if not 0 < tensors <= len(self.inputs):
            raise ValidationFailed.of("inputs", f"must be 1 to {len(self.inputs)} tensors; there are {tensors}")

    def instances(self, tensors: Arrays) -> list[Any]:
        """Convert the rows of a request's tensors to the model's instances. Raises ValidationFailed."""
        sizes = {array.shape[0] for array in tensors.values()}
        if len(sizes) != 1:
            raise ValidationFailed.of("inputs", "must be tensors of one batch, whose size is the first of their shapes")
        if (features := self._named(tensors)) is not None:
            columns = [_column(array, features[name]) for name, array in tensors.items()]
            return [dict(zip(tensors, row, strict=True)) for row in zip(*columns, strict=True)]
        if self._alone is not None and len(tensors) == 1:
            (array,) = tensors.values()
            return _column(array, self._alone)
        wanted = ", ".join(each.name for each in self.inputs[:20])
        raise ValidationFailed.of("inputs", f"the model takes {wanted}; given are {', '.join(sorted(tensors)[:20])}")

    def _named(self, tensors: Arrays) -> JsonSchema | None:
        """Return the features' schemas by name, if each of these tensors is one feature."""
        if self._by_name is None:
            return None
        features: JsonSchema = self._by_name["properties"]
        required = self._by_name.get("required", ())
        return features if tensors.keys() <= features.keys() and tensors.keys() >= set(required) else None

    def answered(self, predictions: Sequence[Prediction]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the tensors of an answer, by name."""
        values = [each.value for each in predictions]
        if self._answer is None:
            found = {ONE_OUTPUT: as_array(values)}
        else:
            found = {self._answer.name: _shaped(as_array(values, self._answer.dtype), self._answer)}
        confidence = [each.confidence for each in predictions]
        if any(each is not None for each in confidence) or any(each.name == CONFIDENCE for each in self._learned):
            found[CONFIDENCE] = np.array([np.nan if each is None else each for each in confidence], dtype="<f8")
        return found


def _forms(schema: JsonSchema) -> tuple[JsonSchema | None, JsonSchema | None]:
    """Return the schemas of an instance with named features, and of one that is no object; None where it can't be."""
    by_name, alone = None, None
    for form in schema.get("anyOf", [schema]):
        if isinstance(form, Mapping) and "properties" in form:
            by_name = form
        elif isinstance(form, Mapping) and alone is None:
            alone = form
    return by_name, alone


def _from_schema(by_name: JsonSchema | None, alone: JsonSchema | None) -> tuple[Tensor, ...]:
    named = by_name["properties"] if by_name is not None else {ONE_INPUT: alone or {}}
    return tuple(Tensor(name, *_described(schema)) for name, schema in named.items())


def _described(schema: Any) -> tuple[str, tuple[int, ...]]:
    """Return datatype and shape; FP64 where a schema leaves it open."""
    shape = [-1]
    while isinstance(schema, Mapping) and schema.get("type") == "array":
        least, most = schema.get("minItems"), schema.get("maxItems")
        shape.append(least if least is not None and least == most else -1)
        schema = schema.get("items")
    return _datatype(schema), tuple(shape)


def _datatype(schema: Any) -> str:
    for each in schema.get("anyOf", [schema]) if isinstance(schema, Mapping) else ():
        kind = each.get("type") if isinstance(each, Mapping) else None
        if isinstance(kind, str) and kind in _DATATYPE_OF:
            return _DATATYPE_OF[kind]
    return "FP64"


def _declared(tensor: TensorInput) -> Tensor:
    assert tensor.sizes is not None
    sizes = (-1 if size is None else size for size in tensor.sizes)
    return Tensor(tensor.name, DATATYPES[tensor.dtype], (-1, *sizes))


def _column(array: np.ndarray[Any, Any], schema: Any) -> list[Any]:
    """Return one value for each row; a bare value may have a dimension of its own."""
    is_bare = isinstance(schema, Mapping) and schema.keys() & {"type", "anyOf"} and schema.get("type") != "array"
    return rows(array.reshape(-1) if is_bare and array.shape[1:] == (1,) else array)


def _shaped(array: np.ndarray[Any, Any], declared: TensorInput) -> np.ndarray[Any, Any]:
    """Restore the dimension that the model gives a value which was a single one in JSON."""
    return array.reshape(-1, 1) if declared.sizes == (1,) and array.ndim == 1 else array
