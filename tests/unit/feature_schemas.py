"""Schemas as the runtimes make them of a model's columns and tensors."""

from typing import Any

import numpy as np

from serving.runtimes.rows import RowColumns
from serving.runtimes.tensors import graph_inputs

NUMBER = {"type": "number"}
FLOAT32, FLOAT64, INT32, INT64 = np.float32, np.float64, np.int32, np.int64


def row(*names: str, value: dict[str, Any] = NUMBER) -> dict[str, Any]:
    return RowColumns(len(names), names, value).schema


def unnamed(number: int, value: dict[str, Any] = NUMBER) -> dict[str, Any]:
    return RowColumns(number, (), value).schema


def tensor(dtype: Any, *sizes: int | None) -> dict[str, Any]:
    return graph_inputs([("input", np.dtype(dtype), (None, *sizes))]).schema


def tensors(**dtypes: Any) -> dict[str, Any]:
    return graph_inputs([(name, np.dtype(dtype), (None, 1)) for name, dtype in dtypes.items()]).schema


def object_of(*required: str, more: bool = True, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": more}
