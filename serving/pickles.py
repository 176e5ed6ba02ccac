"""Pickles in artifacts: a file that tells Python which functions to call is a program, and is refused with its opcode.

Nothing here is unpickled: the opcodes are read one by one (`pickletools`), up to the first that could run code. Also
looked into are the archives that frameworks make (`.pt`, `.npz`, `.skops` are zips) and NumPy's arrays of objects.
PyTorch's archives hold pickles of their own, which name nothing but tensors: those names, and no others, are let by.
"""

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from hotswap.domain.errors import ValidationFailed

MOST_DEPTH = 3
"""The deepest archives within archives: `torch.export` has one in another."""

_ENDINGS = frozenset({".pkl", ".pickle", ".p", ".joblib", ".dill"})
_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
"""The beginnings of pickles since Python 2.3; older ones are known by their ending alone."""
_ARRAY = b"\x93NUMPY"

_CALLS = frozenset(
    {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4"}
)
_CALLS_OF_NAMES = _CALLS - {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
"""The rest calls what one of these has named, so who lets only harmless names by can let it by as well."""
_TENSORS = re.compile(
    r"__torch__(\.\w+)* \w+|collections OrderedDict|torch\.jit\._pickle \w+"
    r"|torch\._utils _rebuild_(tensor(_v2|_v3)?|parameter|qtensor|sparse_tensor)"
    r"|torch (\w+Storage|Size|device|b?float\d*|u?int\d+|bool|q?u?int\d+)|torch\.storage UntypedStorage"
)
"""Names in PyTorch's archives, as opcode GLOBAL spells them: types of tensors, and classes that TorchScript has
compiled, which no Python runs.
"""


def refuse_pickles(directory: Path) -> None:
    """Raise ValidationFailed naming `artifactPath`, the file, and the first opcode that could run code."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                _look(path.name, file, depth=0)


def _look(name: str, file: IO[bytes], *, depth: int) -> None:
    """Look for dangers; `name` is `archive!member` for a member of an archive."""
    by_ending = PurePosixPath(name).suffix in _ENDINGS
    beginning = file.read(len(_ARRAY))
    file.seek(0)
    if by_ending or beginning[:2] in _PROTOCOLS:
        _refuse(name, file, by_ending=by_ending, in_archive=depth > 0)
    elif beginning == _ARRAY:
        _look_into_array(name, file)
    elif zipfile.is_zipfile(file):
        if depth == MOST_DEPTH:
            raise _refused(f"{name} is an archive within {depth} others, which are not looked into")
        _look_into_archive(name, file, depth=depth + 1)


def _look_into_archive(name: str, file: IO[bytes], *, depth: int) -> None:
    try:
        with zipfile.ZipFile(file) as package:
            for member in package.infolist():
                if not member.is_dir():
                    with package.open(member) as content:
                        _look(f"{name}!{member.filename}", content, depth=depth)
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes make it raise what they like
        raise _refused(f"{name} is an archive that can't be looked into: {str(error)[:200]}") from None


def _look_into_array(name: str, file: IO[bytes]) -> None:
    """Look into an array: numbers are data, but an array of objects is a pickle behind a header."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        has_objects = read(file)[2].hasobject
    except Exception:  # noqa: BLE001 - hostile bytes make it raise what they like, and no loader takes it either
        return
    if has_objects:
        _refuse(name, file, by_ending=True, in_archive=False)
        raise _refused(f"{name} is an array of Python objects: save it with a type of numbers or text")


def _refuse(name: str, file: IO[bytes], *, by_ending: bool, in_archive: bool) -> None:
    try:
        danger = next(_dangers(file, names_of_tensors=in_archive), None)
    except Exception:  # noqa: BLE001 - hostile bytes make it raise what they like
        danger = "which can't be read as one" if by_ending else None
    if danger is not None:
        raise _refused(
            f"{name} is a pickle, {danger}: loading it runs what it says;"
            " save the model in its framework's own format instead"
        )


def _refused(problem: str) -> ValidationFailed:
    return ValidationFailed.of("artifactPath", problem)


def _dangers(file: IO[bytes], *, names_of_tensors: bool) -> Iterator[str]:
    """Yield dangers with their positions from the beginning of the pickle.

    With `names_of_tensors`, opcodes that only make tensors are none.
    """
    dangerous = _CALLS_OF_NAMES if names_of_tensors else _CALLS
    texts: list[str] = []
    memo: dict[int, str] = {}
    begin = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name in dangerous:
            if names_of_tensors and opcode.name == "GLOBAL" and _TENSORS.fullmatch(str(argument)):
                continue
            names = ".".join(texts[-2:]) if opcode.name == "STACK_GLOBAL" else argument
            told = f" ({str(names).replace(' ', '.')[:100]})" if names is not None else ""
            yield f"whose opcode {opcode.name} at byte {(position or 0) - begin}{told} calls code"
        _remember(opcode.name, argument, texts, memo)


def _remember(opcode: str, argument: object, texts: list[str], memo: dict[int, str]) -> None:
    """Remember texts in the order of the stack, to tell which of them STACK_GLOBAL takes."""
    if opcode == "MEMOIZE":
        memo[len(memo)] = texts[-1] if texts else ""
    elif opcode.endswith("PUT") and isinstance(argument, int):
        memo[argument] = texts[-1] if texts else ""
    elif opcode.endswith("GET") and isinstance(argument, int):
        texts.append(memo.get(argument, ""))
    elif isinstance(argument, str):
        texts.append(argument)
    del texts[:-2]
