"""Packing of a model's files as the archive that registration takes: the same files always give the same bytes.

So when a command was killed and runs again, its sha256 tells that it is the same upload.
"""

import hashlib
import tarfile
from pathlib import Path

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


class NotPackable(Exception):
    """A file that can't be sent as it is; the message names it and says what would help."""


def is_archive(path: Path) -> bool:
    """Return whether the file's name is that of an archive; a `.skops` or a `.pt` is a zip too, but it is a model."""
    return path.is_file() and path.name.endswith(ARCHIVES)


def pack(source: Path, into: Path) -> None:
    """Write a file, or all files of a directory, as a plain tar; models hardly get smaller by compression.

    Left out is what begins with a dot. Raises NotPackable for links and whatever else is no plain file.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(into, "w") as archive:
        for path in _files(source):
            name = str(path.relative_to(source)) if source.is_dir() else path.name
            member = tarfile.TarInfo(name)  # no owner, no time: they are none of the model's
            member.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = []
    for path in sorted(source.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(source).parts):
            continue
        if path.is_symlink():
            raise NotPackable(f"{path} is a link, which a registration refuses; replace it by the file itself")
        if path.is_file():
            found.append(path)
        elif not path.is_dir():
            raise NotPackable(f"{path} is neither a file nor a directory")
    if not found:
        raise NotPackable(f"there is no file in {source}")
    return found
