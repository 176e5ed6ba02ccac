"""Pickles in artifacts: a file that tells Python which functions to call is a program, and is refused with its opcode.

Nothing here is unpickled: the opcodes are read one by one (`pickletools`), up to the first that could run code.
"""

import pickletools
from collections.abc import Iterator
from pathlib import Path

from hotswap.domain.errors import ValidationFailed

_ENDINGS = frozenset({".pkl", ".pickle", ".p", ".joblib", ".dill"})
_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
"""How a pickle begins since Python 2.3; older ones are known by their ending alone."""

_CALLS = frozenset(
    {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4"}
)


def refuse_pickles(directory: Path) -> None:
    """Raises ValidationFailed naming `artifactPath`, the file, and the first opcode that could run code."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and (path.suffix in _ENDINGS or _begins_as_one(path)):
            _refuse(path)


def _begins_as_one(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in _PROTOCOLS


def _refuse(path: Path) -> None:
    try:
        danger = next(_dangers(path), None)
    except Exception:  # noqa: BLE001 - hostile bytes make it raise what they like
        danger = "which can't be read as one" if path.suffix in _ENDINGS else None
    if danger is not None:
        raise ValidationFailed.of(
            "artifactPath",
            f"{path.name} is a pickle, {danger}: loading it runs what it says;"
            " save the model in its framework's own format instead",
        )


def _dangers(path: Path) -> Iterator[str]:
    texts: list[str] = []
    with path.open("rb") as file:
        for opcode, argument, position in pickletools.genops(file):
            if isinstance(argument, str):
                texts = [*texts[-1:], argument]
            if opcode.name in _CALLS:
                names = ".".join(texts) if opcode.name == "STACK_GLOBAL" else argument
                told = f" ({str(names)[:100]})" if names is not None else ""
                yield f"whose opcode {opcode.name} at byte {position}{told} calls code"
