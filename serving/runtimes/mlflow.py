"""MLflow's model directories: the file of the registered framework's flavor, and what the signature names.

MLflow itself is not needed: `MLmodel` says in YAML which file holds the model, and the signature what one row or tensor
is made of. What a flavor saved as a pickle stays refused like any other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.runtimes import LoadedModel, Prediction
from serving.runtimes.rows import DIALECT
from serving.runtimes.tensors import TensorInput, TensorInputs

MOST_MLMODEL_BYTES = 1024**2
_FLAVOURS = {
    Framework.ONNX: ("onnx", ("data",)),
    Framework.SCIKIT_LEARN: ("sklearn", ("pickled_model",)),  # so named whatever its format
    Framework.XGBOOST: ("xgboost", ("data",)),
    Framework.LIGHTGBM: ("lightgbm", ("data",)),
    Framework.PYTORCH: ("pytorch", ("model_data",)),
    Framework.TENSORFLOW: ("tensorflow", ("saved_model_dir", "data")),
}
"""A framework's flavor, and the keys that may name its file or folder."""
_KINDS: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
}
"""Kinds of columns; fractions are as the model has them."""


@dataclass(frozen=True, slots=True)
class SignatureColumn:
    name: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True)
class Described:
    """`place` is the model's file or folder, `columns` those that the signature names, `takes` its tensors."""

    place: Path
    columns: tuple[SignatureColumn, ...] = ()
    takes: TensorInputs | None = None


def described(framework: Framework, directory: Path) -> Described | None:
    """Return what `MLmodel` says; None where there is none. Raises ValidationFailed naming `artifactPath`."""
    files = sorted(directory.rglob("MLmodel"))
    if not files or framework not in _FLAVOURS:
        return None
    if len(files) > 1:
        raise _refused(f"the archive must hold one MLmodel; it holds {len(files)}")
    try:
        return _read(framework, files[0])
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile document makes the parsers raise
        raise _refused(f"MLmodel can't be read: {str(error)[:300]}") from None


def _read(framework: Framework, path: Path) -> Described:
    if path.stat().st_size > MOST_MLMODEL_BYTES:
        raise _refused(f"MLmodel is larger than {MOST_MLMODEL_BYTES} bytes")
    said = yaml.safe_load(path.read_text())
    name, keys = _FLAVOURS[framework]
    flavor = said["flavors"].get(name)
    if flavor is None:
        raise _refused(
            f"MLmodel has no flavor {name}, which {framework} is served from; it has {', '.join(said['flavors'])}"
        )
    inside = next(flavor[key] for key in keys if flavor.get(key))
    place = (path.parent / inside).resolve()
    if not place.is_relative_to(path.parent.resolve()) or not place.exists():
        raise _refused(f"MLmodel names {inside!r}, which is not in the artifact")
    inputs = json.loads((said.get("signature") or {}).get("inputs") or "[]")
    return Described(place, *_signature(inputs))


def _signature(inputs: list[dict[str, Any]]) -> tuple[tuple[SignatureColumn, ...], TensorInputs | None]:
    if inputs and all(each["type"] == "tensor" for each in inputs):
        return (), TensorInputs(tuple(_tensor(each) for each in inputs))
    if not inputs or not all(each.get("name") for each in inputs):
        return (), None
    return tuple(
        SignatureColumn(str(each["name"]), str(each["type"]), each.get("required", True)) for each in inputs
    ), None


def _tensor(said: dict[str, Any]) -> TensorInput:
    spec = said["tensor-spec"]
    sizes = tuple(None if size == -1 else int(size) for size in spec["shape"][1:])
    return TensorInput(said.get("name") or "input", np.dtype(spec["dtype"]), sizes)


def signed(model: LoadedModel, columns: Sequence[SignatureColumn]) -> LoadedModel:
    """Return the model with the signature's names and types. Raises ValidationFailed where the model takes others."""
    if not columns:
        return model
    shapes = (model.input_schema, *model.input_schema.get("anyOf", ()))
    row = next((each for each in shapes if each.get("type") == "array"), None)
    names = next((tuple(each["properties"]) for each in shapes if each.get("type") == "object"), None)
    said = tuple(column.name for column in columns)
    if sorted(names or said) != sorted(said) or (row is not None and row.get("minItems") not in {None, len(said)}):
        raise _refused(f"MLmodel's signature names {', '.join(said)}; the model takes {_told(names, row)}")
    return SignedModel(model, columns, order=names or said, by_position=row is not None)


class SignedModel:
    """A model whose columns have the names and types that a signature gave them."""

    def __init__(
        self, model: LoadedModel, columns: Sequence[SignatureColumn], *, order: Sequence[str], by_position: bool
    ) -> None:
        self._model = model
        self._order = order
        self._by_position = by_position
        self.device = model.device
        self.input_schema = _schema(model.input_schema, columns, order, by_position=by_position)
        self.output_schema = model.output_schema

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        if self._by_position:
            instances = [
                [each.get(name) for name in self._order] if isinstance(each, dict) else each for each in instances
            ]
        return self._model.predict(instances)


def _schema(
    inner: dict[str, Any], columns: Sequence[SignatureColumn], order: Sequence[str], *, by_position: bool
) -> dict[str, Any]:
    said = {column.name: column for column in columns}
    values = {name: _value(said[name], _inner_value(inner, name)) for name in order}
    by_name = {
        "type": "object",
        "properties": values,
        # In the order of a list, by which it is told whether lists mean the same to another version.
        "required": [name for name in order if said[name].required or not by_position or not _may_lack(values[name])],
        "additionalProperties": False,
    }
    if not by_position:
        return DIALECT | by_name
    size = len(columns)
    row = {"type": "array", "prefixItems": [values[name] for name in order], "minItems": size, "maxItems": size}
    return {**DIALECT, "anyOf": [by_name, row]}


def _value(column: SignatureColumn, inner: dict[str, Any]) -> dict[str, Any]:
    kinds = [each.get("type") for each in inner.get("anyOf", [inner])]
    if column.kind in _KINDS:
        kind = _KINDS[column.kind]
    elif column.kind in {"float", "double"}:
        kind = next((each for each in inner.get("anyOf", [inner]) if each.get("type") == "number"), {"type": "number"})
    else:
        return inner
    return {"anyOf": [kind, {"type": "null"}]} if "null" in kinds else kind


def _may_lack(value: dict[str, Any]) -> bool:
    """Return whether the model accepts a missing value."""
    return {"type": "null"} in value.get("anyOf", ())


def _inner_value(schema: dict[str, Any], name: str) -> dict[str, Any]:
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("type") == "object":
            return dict(each["properties"][name])
        if each.get("type") == "array":
            return dict(each["items"])
    return {}


def _told(names: Sequence[str] | None, row: dict[str, Any] | None) -> str:
    return ", ".join(names) if names else f"{row.get('minItems')} features" if row else "one value"


def _refused(problem: str) -> ValidationFailed:
    return ValidationFailed.of("artifactPath", problem)
