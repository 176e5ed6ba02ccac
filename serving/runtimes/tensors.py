"""A tensor that a graph takes, as JSON: the schema of one instance, and the array of many.

The first dimension is the batch. A tensor of one value an instance, with a dimension for it or without, is a bare value
in JSON: a column. The bounds of its type are in the schema, since what a type can't hold must be the client's error and
never a number that silently became another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorInput:
    """`sizes` are one instance's dimensions; None is a free one."""

    name: str
    dtype: np.dtype[Any]
    sizes: tuple[int | None, ...]

    @property
    def is_column(self) -> bool:
        return self.sizes in {(), (1,)}

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of one instance."""
        found = _value_schema(self.dtype)
        for size in () if self.is_column else reversed(self.sizes):
            bounds = {} if size is None else {"minItems": size, "maxItems": size}
            found = {"type": "array", "items": found, **bounds}
        return found

    @np.errstate(over="raise")  # as a decorator: a `with` costs more than the array
    def array(self, instances: Sequence[Any]) -> Any:
        """The batch of instances that fit the schema, ranges of fractions aside.

        Raises ArithmeticError when a number is beyond the type's range, ValueError when rows have different lengths.
        """
        values = np.asarray(instances, dtype=self.dtype)
        return values.reshape(-1, 1) if self.sizes == (1,) else values


def _value_schema(dtype: np.dtype[Any]) -> dict[str, Any]:
    if np.issubdtype(dtype, np.integer):
        whole = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(whole.min), "maximum": int(whole.max)}
    if np.issubdtype(dtype, np.floating):
        real = np.finfo(dtype)
        return {"type": "number", "minimum": float(real.min), "maximum": float(real.max)}
    return {"type": "boolean" if dtype == np.bool_ else "string"}
