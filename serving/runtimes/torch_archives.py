"""Check of PyTorch's archives before PyTorch reads them, since it trusts them.

`torch.export.load` falls back to unpickling what its own safe reader refuses, calls whatever function of `torch` a node
names, and evaluates expressions of sizes as Python. So only numbers, operations of tensors and plain arithmetic get
through here. TorchScript is read without Python; of its operations those that touch files are refused.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hotswap.domain.errors import ValidationFailed

_PLACES = re.compile(
    r"(\.?data/(version|serialization_id|weights/(weight_\d+|\w+\.json)|constants/(tensor_\d+|\w+\.json)"
    r"|sample_inputs/\w+\.pt)|models/\w+\.json|archive_format|archive_version|version|byteorder|\.data/\w+|extra/.*)"
)
_OPERATIONS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+|torch\._sym_sqrt|math\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_FILES = re.compile(r"\b(from_file|save|load)\b")
"""Operations of tensors that read or write a file."""
_WORD = re.compile(r"[\w.:+-]*", re.ASCII)
"""Holds no call, whatever Python is made of it."""
_SUM = re.compile(
    r"((Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|ToFloat"
    r"|FloorToInt|CeilToInt|TruncToInt|RoundToInt|Eq|Equality|Ne|Unequality|Lt|StrictLessThan|Le|LessThan|Gt|StrictGreaterThan"
    r"|Ge|GreaterThan|And|Or|Not)(?=\()|'\w+'|True|False|positive|nonnegative|integer|[a-z]+\d+|\d+(\.\d+)?|[\s+*/(),=-])*",
    re.ASCII,
)
"""An expression of sizes: of all Python's functions those that make one."""
_QUOTED = frozenset({"as_string", "as_strings", "metadata", "guards_code", "in_spec", "out_spec", "treespec"})
"""Strings that stay strings: arguments, where a node came from, JSON within JSON; guards, which are not made use of."""


def refuse_what_is_no_script(path: Path) -> None:
    """Refuse a file that is no TorchScript. Raises ValidationFailed naming `artifactPath`."""
    with _opened(path) as archive:
        sources = [member for name, member in _members(path, archive) if "/code/" in name and name.endswith(".py")]
        if not sources:
            raise _refused(
                path, "is no TorchScript: save it by torch.jit.save or torch.export.save; torch.save writes a pickle"
            )
        for member in sources:
            if found := _FILES.search(archive.read(member).decode(errors="replace")):
                raise _refused(path, f"has the operation {found[0]}, which touches files")


def refuse_what_is_no_graph(path: Path) -> None:
    """Refuse a file that is no graph of `torch.export`. Raises ValidationFailed naming `artifactPath`."""
    with _opened(path) as archive:
        for _, member in _members(path, archive):
            place = member.filename.partition("/")[2]
            if _PLACES.fullmatch(place) is None:
                raise _refused(path, f"holds {place!r}, which no graph needs")
            if place.endswith(".json"):
                for problem in _problems(json.loads(archive.read(member))):
                    raise _refused(path, problem)
            elif place.endswith(".pt"):
                _refuse_more_than_tensors(path, archive.read(member))


def _refuse_more_than_tensors(path: Path, content: bytes) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception:  # noqa: BLE001 - hostile bytes make it raise what they like, with advice to trust them
        raise _refused(
            path, "has sample inputs that are more than tensors: a pickle, whose loading runs code"
        ) from None


def _problems(found: Any, key: str = "") -> Iterator[str]:
    """Yield the parts of a graph's JSON that could be more than numbers and operations."""
    if key in _QUOTED:
        return
    match found:
        case dict():
            for name, value in found.items():
                pattern = _SUM if key == "range_constraints" else _WORD
                if pattern.fullmatch(name) is None:
                    yield f"has the name {name[:80]!r}"
                yield from _problems(value, name)
        case list():
            for value in found:
                yield from _problems(value, key)
        case True if key == "use_pickle":
            yield "has pickled tensors"
        case str() if key == "target":
            if _OPERATIONS.fullmatch(found) is None or _FILES.search(found):
                yield f"calls {found[:80]}, which is no operation of tensors"
        case str():
            if (_SUM if key == "expr_str" else _WORD).fullmatch(found) is None:
                yield f"has {found[:80]!r} as {key}"


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise _refused(path, f"is none of PyTorch's archives: {error}") from None


def _members(path: Path, archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the members by their names in lower case: PyTorch ignores the case, and picks one of two equal names."""
    members = {}
    for member in archive.infolist():
        name = member.filename.lower()
        if name in members:
            raise _refused(path, f"has two members of the name {name[:200]!r}")
        members[name] = member
    return list(members.items())


def _refused(path: Path, problem: str) -> ValidationFailed:
    return ValidationFailed.of("artifactPath", f"{path.name} {problem}")
