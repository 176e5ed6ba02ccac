"""The archive: a tar of members, whose manifest is its last member but one and has the sha256 of each.

An archive that is being written has another name, so no half-written one looks like a backup. It is readable by its
owner only, because records and rows hold what callers sent. Whoever reads it checks every hash before anything is
changed. No member is ever unpacked by its own name.
"""

import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from hotswap.domain.errors import ValidationFailed
from hotswap.storage.files import replacing

FORMAT = 1
MANIFEST, MANIFEST_HASH = "manifest.json", "manifest.sha256"
CHUNK_BYTES = 1024 * 1024

Filled = TypeVar("Filled")


class TableContent(msgspec.Struct, frozen=True, rename="camel"):
    """A table's columns and its number of rows."""

    name: str
    columns: tuple[str, ...]
    rows: int


class MemberCheck(msgspec.Struct, frozen=True, rename="camel"):
    """The size and the sha256 (hex) of a member."""

    size_bytes: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What an archive holds. `tables` are in the order in which they can be loaded.

    `days` are those whose records had a partition of their own, as YYYYMMDD. `artifacts` are keys in the bucket, None
    if they were left out.
    """

    format: int = FORMAT
    product: str
    revision: str
    created_at: datetime
    tables: tuple[TableContent, ...]
    days: tuple[str, ...]
    artifacts: tuple[str, ...] | None
    has_keys: bool
    members: dict[str, MemberCheck]


class ArchiveWriter:
    """Writes the members of one archive, each through a file beside it, because a tar needs a size first."""

    def __init__(self, tar: tarfile.TarFile, directory: Path) -> None:
        self._tar = tar
        self._directory = directory
        self.members: dict[str, MemberCheck] = {}

    def add(self, name: str, fill: Callable[[Path], Filled]) -> Filled:
        """Add what `fill` writes into the file that it is given, and return its result."""
        with tempfile.NamedTemporaryFile(prefix=".member.", dir=self._directory) as draft:
            path = Path(draft.name)
            result = fill(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                self.members[name] = MemberCheck(size := path.stat().st_size, digest)
                file.seek(0)
                self._append(name, size, file)
        return result

    def finish(self, manifest: BackupManifest) -> None:
        """Add the manifest, and its own hash."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        for name, content in ((MANIFEST, text), (MANIFEST_HASH, hashlib.sha256(text).hexdigest().encode())):
            self._append(name, len(content), BytesIO(content))

    def _append(self, name: str, size: int, file: IO[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, file)


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive, which gets its name when all of it is on the disk. Raises OSError."""
    with replacing(path, mode=0o600) as file, tarfile.open(fileobj=file, mode="w") as tar:
        yield ArchiveWriter(tar, path.parent)


class ArchiveReader:
    """Reads the members of an archive whose hashes were all checked."""

    def __init__(self, tar: tarfile.TarFile, manifest: BackupManifest) -> None:
        self._tar = tar
        self.manifest = manifest

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member."""
        file = self._tar.extractfile(name)
        assert file is not None  # it was checked
        with file:
            yield file


@contextmanager
def reading(path: Path) -> Iterator[ArchiveReader]:
    """Open an archive and check all of it. Raises ValidationFailed, and OSError for a file that can't be read."""
    try:
        tar = tarfile.open(path, mode="r:")  # noqa: SIM115 - closed below
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(path, f"it is no tar archive: {error}") from None
    with tar:
        yield ArchiveReader(tar, _checked(tar, path))


def _checked(tar: tarfile.TarFile, path: Path) -> BackupManifest:
    try:
        manifest = _manifest(tar, path)
        for name, check in manifest.members.items():
            if _digest(tar, name) != (check.size_bytes, check.sha256):
                raise _damaged(path, f"the content of {name} is not what was written")
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise _damaged(path, f"a part of it is missing or unreadable: {error}") from None
    needed = {table_member(each.name) for each in manifest.tables} | {
        artifact_member(key) for key in manifest.artifacts or ()
    }
    if missing := sorted(needed - manifest.members.keys()):
        raise _damaged(path, f"its manifest names {missing[0]} without a hash")
    return manifest


def _manifest(tar: tarfile.TarFile, path: Path) -> BackupManifest:
    told = tar.extractfile(MANIFEST_HASH)
    file = tar.extractfile(MANIFEST)
    assert told is not None
    assert file is not None
    text = file.read()
    if hashlib.sha256(text).hexdigest() != told.read().decode(errors="replace"):
        raise _damaged(path, "the content of its manifest is not what was written")
    try:
        version = msgspec.json.decode(text).get("format")
        if version != FORMAT:
            raise ValidationFailed(
                f"{path} has format {version} and this release reads format {FORMAT}; restore it with the release that "
                "made it"
            )
        return msgspec.json.decode(text, type=BackupManifest)
    except (msgspec.MsgspecError, AttributeError) as error:
        raise _damaged(path, f"its manifest can't be read: {error}") from None


def _digest(tar: tarfile.TarFile, name: str) -> tuple[int, str]:
    member = tar.getmember(name)
    file = tar.extractfile(member)
    if file is None:
        return -1, ""
    with file:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return member.size, digest.hexdigest()


def _damaged(path: Path, problem: str) -> ValidationFailed:
    return ValidationFailed(f"{path} is damaged, so nothing was changed: {problem}; restore another backup")


def artifact_member(key: str) -> str:
    """Return the name of an artifact's member, by its key in the bucket."""
    return f"artifacts/{key}"


def table_member(table: str) -> str:
    """Return the name of the member with a table's rows."""
    return f"tables/{table}.copy"
