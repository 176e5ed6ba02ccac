"""One tensor, as the protocol writes it: a datatype, a shape, and its elements in JSON or as bytes.

Elements are in row-major order. As bytes they are little-endian without padding, and each of BYTES has its length in
four bytes before it. Hostile until read: sizes are checked against what is there before anything is made of them.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from hotswap.domain.errors import ValidationFailed
from hotswap.inference.records import to_json
from serving.codecs import MOST_BODY_BYTES, MOST_INSTANCES

BYTES = "BYTES"
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BYTES: np.dtype(object),
}
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}

MOST_DIMENSIONS = 32
"""Numpy has no more than 64; a client's JSON is nested no deeper than this."""

_ELEMENTS: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
"""The types of elements in JSON, by kind of datatype. Numpy alone would take true for 1 and 1.5 for 1."""


def check_shape(shape: Sequence[int], field: str) -> None:
    """Check a shape before any element is read; a size of 0 is refused, so no tensor is larger than its elements."""
    if shape and shape[0] > MOST_INSTANCES:
        raise ValidationFailed.of(f"{field}.shape", f"must be of 1 to {MOST_INSTANCES} rows")
    if not 0 < len(shape) <= MOST_DIMENSIONS or min(shape) < 1:
        raise ValidationFailed.of(
            f"{field}.shape", f"must be 1 to {MOST_DIMENSIONS} sizes of at least 1; the first one is the batch's"
        )
    # No body has more. Nor is a number told later that has more digits than Python writes.
    if math.prod(shape) > MOST_BODY_BYTES:
        raise ValidationFailed.of(f"{field}.shape", f"must be of at most {MOST_BODY_BYTES} elements")


def from_json(data: Any, datatype: str, shape: Sequence[int], field: str) -> np.ndarray[Any, Any]:
    """Read a tensor from JSON's lists, flat or nested. Raises ValidationFailed."""
    dtype = _dtype(datatype, field)
    elements = _flat(data, field)
    _check_count(len(elements), shape, field)
    if not set(map(type, elements)) <= _ELEMENTS[dtype.kind]:
        raise ValidationFailed.of(f"{field}.data", f"has elements that are not {datatype}")
    try:
        with np.errstate(over="raise"):
            return np.array(elements, dtype=dtype).reshape(shape)
    except (ArithmeticError, ValueError):
        raise ValidationFailed.of(f"{field}.data", f"has elements beyond the range of {datatype}") from None


def from_bytes(data: memoryview, datatype: str, shape: Sequence[int], field: str) -> np.ndarray[Any, Any]:
    """Read a tensor from its binary form. Raises ValidationFailed."""
    dtype = _dtype(datatype, field)
    if datatype == BYTES:
        elements = _texts(data, field)
        _check_count(len(elements), shape, field)
        return np.array(elements, dtype=dtype).reshape(shape)
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise ValidationFailed.of(field, f"its shape and datatype need {needed} bytes; there are {len(data)}")
    found = np.frombuffer(data, dtype).reshape(shape)
    if dtype.kind == "f" and np.isinf(found).any():
        raise ValidationFailed.of(field, "has elements that are not finite, which JSON and models here don't take")
    return found


def to_bytes(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype.kind != "O":
        return array.tobytes()
    found = [text.encode() for text in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(each)) + each for each in found)


def as_array(values: Sequence[Any], dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
    """Convert a model's answers to one tensor of `dtype`, or of their own type.

    Values that are no tensor become JSON, row by row.
    """
    try:
        found = np.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0, dtype=object)
    if found.dtype in DATATYPES and found.dtype.kind != "O":
        return found
    if found.dtype.kind in "UO" and found.size and all(isinstance(each, str) for each in _leaves(values)):
        return np.asarray(values, dtype=object)
    return np.array([each if isinstance(each, str) else to_json(each) for each in values], dtype=object)


def rows(array: np.ndarray[Any, Any]) -> list[Any]:
    """Return one plain Python value for each row of the batch; a value that is no number becomes None."""
    if array.dtype.kind == "f" and (missing := np.isnan(array)).any():
        array = array.astype(object)
        array[missing] = None
    found: list[Any] = array.tolist()
    return found


def _dtype(datatype: str, field: str) -> np.dtype[Any]:
    if (found := DTYPES.get(datatype)) is None:
        raise ValidationFailed.of(f"{field}.datatype", f"{datatype[:20]} is none of {', '.join(DTYPES)}")
    return found


def _check_count(count: int, shape: Sequence[int], field: str) -> None:
    if count != math.prod(shape):
        raise ValidationFailed.of(field, f"its shape needs {math.prod(shape)} elements; there are {count}")


def _flat(data: Any, field: str) -> list[Any]:
    if not isinstance(data, list):
        raise ValidationFailed.of(f"{field}.data", "must be a list")
    elements: list[Any] = data
    for _ in range(MOST_DIMENSIONS):
        if not any(isinstance(each, list) for each in elements):
            return elements
        if not all(isinstance(each, list) for each in elements):
            break
        elements = [element for each in elements for element in each]
    raise ValidationFailed.of(f"{field}.data", "must be a flat list, or nested as the shape says")


def _texts(data: memoryview, field: str) -> list[str]:
    found, at = [], 0
    try:
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            at += 4 + length
            if at > len(data):
                raise ValidationFailed.of(field, "an element is longer than the bytes that are there")
            found.append(str(data[at - length : at], "utf-8"))
    except struct.error:
        raise ValidationFailed.of(field, "an element's length is cut off") from None
    except UnicodeDecodeError:
        raise ValidationFailed.of(field, "an element is not UTF-8, which models here need") from None
    return found


def _leaves(values: Any) -> list[Any]:
    while values and isinstance(values[0], list):
        values = [element for each in values if isinstance(each, list) for element in each]
    return list(values)
