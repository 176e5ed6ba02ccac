"""The state that judges have folded of the observations so far, as bytes, from which another process continues exactly.

It is bounded, however many observations there were, and exact: the same numbers come back, so the next verdict is the
same. Each part names in `KEPT` what it keeps, with the type; everything else follows from the policy. The bytes are
data, never code. A state that another version or another policy wrote is refused: then the observations are folded
anew.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np

VERSION = 1
"""Raise it with every change of what a part keeps or of what that means."""


class Folding(Protocol):
    """A part of the judging that keeps something from observation to observation."""

    KEPT: ClassVar[Mapping[str, Any]]
    """The attributes that it keeps, each with its type: data, an array, or (by its class) another part.

    Checkpoints are stored with these names: a new one is a change of what is kept, so it raises `VERSION`.
    """


class NotOurs(Exception):
    """These bytes were written by another version, or under another policy, or are damaged."""


def fingerprint(*rules: object) -> str:
    """Return a mark of the judging's rules, by which a state that was folded under other rules is refused."""
    return sha256(msgspec.json.encode((VERSION, rules), order="deterministic")).hexdigest()


def dump(parts: Sequence[Folding], *, mark: str) -> bytes:
    """Return the bytes of all that the parts keep; `mark` is the fingerprint of their rules."""
    return msgspec.msgpack.encode([mark, [_kept(part) for part in parts]], enc_hook=_plain)


def load(data: bytes, parts: Sequence[Folding], *, mark: str) -> None:
    """Give it back to parts that were made by the same rules. Raises NotOurs; then the parts are good for nothing."""
    try:
        said, kept = msgspec.msgpack.decode(data, type=tuple[str, list[dict[str, Any]]])
        if said != mark:
            raise NotOurs
        for part, values in zip(parts, kept, strict=True):
            _restore(part, values)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise NotOurs from error


def _kept(part: Folding) -> dict[str, Any]:
    return {name: _kept(value) if _is_part(value) else value for name, value in _values(part).items()}


def _values(part: Folding) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.KEPT}


def _restore(part: Folding, kept: Mapping[str, Any]) -> None:
    for name, present in _values(part).items():
        if _is_part(present):
            _restore(present, kept[name])
        elif isinstance(present, np.ndarray):
            values = np.array(kept[name], dtype=float)
            if values.shape != present.shape:
                raise ValueError(f"{name} has the shape {values.shape}, not {present.shape}")
            setattr(part, name, values)
        else:
            setattr(part, name, msgspec.convert(kept[name], part.KEPT[name]))


def _is_part(value: object) -> bool:
    return hasattr(type(value), "KEPT")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is nothing that a judge may keep")
