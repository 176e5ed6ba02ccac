"""Artifacts on a node: unpacked safely, kept by their checksum, downloaded once.

A directory in the cache is complete or absent: it is made beside its place, synced and renamed, and nothing is
unpacked whose sha256 differs. A cached artifact needs no S3, so replicas start again while S3 is away. Archives are
hostile: no path may escape, nothing but plain files and folders is taken, and sizes are bounded before anything is
written.
"""

import errno
import fcntl
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from filelock import FileLock

from hotswap.domain.application import ArtifactRef
from hotswap.domain.errors import ValidationFailed
from hotswap.storage.files import sync
from hotswap.storage.objects import CHUNK_BYTES, ObjectStorage
from serving.artifact_use import SCRATCH, claimed, evict

MOST_MEMBERS = 10_000
MOST_UNPACKED_BYTES = 8 * 1024**3
"""Unpacked; an artifact itself is at most 2 GiB."""
MOST_HEADER_BYTES = 1024**2
MOST_XZ_BYTES = 80 * 1024**2
"""The most memory for unpacking xz; its strongest preset, -9, takes 65 MiB."""
_ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
"""LZMA in a zip would take as much memory as the archive asks for."""

_PLAIN_TYPES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_DAMAGED = {None, errno.EINVAL}
"""bzip2's own errors have no number, and a zip can lead before its beginning; a disk's troubles have others."""
_CONTRADICTORY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


Unpacking = Callable[[Path, Path], None]
"""Unpacks an archive into an empty directory, as `unpack` does."""


def refused(problem: str) -> ValidationFailed:
    return ValidationFailed.of("artifactPath", f"the archive is refused: {problem}")


def unpack(archive: Path, into: Path) -> None:
    """Unpack a tar (plain or compressed) or a zip into an empty directory.

    Raises ValidationFailed naming `artifactPath` for what isn't an archive, or isn't safe.
    """
    try:
        if zipfile.is_zipfile(archive) and not _is_tar(archive):
            with zipfile.ZipFile(archive) as package:
                _unpack_zip(package, into)
        else:
            with _opened(archive) as tar:
                _unpack_tar(tar, into)
    except tarfile.ReadError as error:
        raise refused(f"it is neither a whole tar (plain, gzip, bzip2, xz) nor a zip: {error}") from None
    except OSError as error:
        if error.errno in _CONTRADICTORY:
            raise refused(f"its names contradict each other or are too long ({error.strerror})") from None
        if error.errno in _DAMAGED:
            raise refused(f"it is damaged: {error}") from None
        raise
    except (ValidationFailed, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - hostile bytes make it raise what they like
        raise refused(str(error) or type(error).__name__) from None


class _Member(tarfile.TarInfo):
    """Looked at before `tarfile` acts on it: long names and extended headers are read into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or member.type == tarfile.GNUTYPE_SPARSE:
            raise refused(f"{member.name!r} is sparse or of negative size")
        if member.type not in _PLAIN_TYPES and member.size > MOST_HEADER_BYTES:
            raise refused(f"a header in it is larger than {MOST_HEADER_BYTES} bytes")
        return member


def _is_tar(archive: Path) -> bool:
    try:
        with _opened(archive):
            return True
    except (tarfile.ReadError, lzma.LZMAError):
        return False


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive by its first bytes; a file of an unknown kind is refused, not guessed at."""
    with archive.open("rb") as file:
        beginning = file.read(6)
        file.seek(0)
        if beginning == b"\xfd7zXZ\x00":
            # `tarfile` would take as much memory as the archive asks for, so it is given a stream.
            with tarfile.open(fileobj=cast("IO[bytes]", _Xz(file)), mode="r|", tarinfo=_Member) as tar:
                yield tar
            return
        mode = "gz" if beginning[:2] == b"\x1f\x8b" else "bz2" if beginning[:3] == b"BZh" else ""
        with tarfile.open(fileobj=file, mode=f"r:{mode}", tarinfo=_Member) as tar:  # type: ignore[call-overload]
            yield tar


class _Xz:
    """Reads xz within bounded memory: the archive itself says how large a dictionary it wants, up to 4 GiB."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_XZ_BYTES)
        self._ended = False

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end."""
        found = bytearray()
        while len(found) < size and not self._ended:
            more = self._file.read(CHUNK_BYTES) if self._stream.needs_input else b""
            if self._stream.needs_input and not more:
                raise EOFError("the compressed file ended before the end of its stream")
            found += self._stream.decompress(more, size - len(found))
            self._ended = self._stream.eof  # what may come after it is no part of a tar
        return bytes(found)


def _unpack_tar(tar: tarfile.TarFile, into: Path) -> None:
    count = total = 0
    for member in tar:
        count, total = count + 1, total + member.size
        _check_bounds(count, total)
        _check_name(member.name)
        if not (member.isreg() or member.isdir()):
            raise refused(f"{member.name!r} is a link or a device")
        tar.extract(member, into, filter="data")


def _unpack_zip(package: zipfile.ZipFile, into: Path) -> None:
    members = package.infolist()
    _check_bounds(len(members), sum(member.file_size for member in members))
    for member in members:
        _check_name(member.filename)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise refused(f"{member.filename!r} is a link")
        if member.compress_type not in _ZIP_METHODS:
            raise refused(f"{member.filename!r} is compressed by a method other than deflate and bzip2")
        package.extract(member, into)


def _check_bounds(count: int, total: int) -> None:
    if count > MOST_MEMBERS:
        raise refused(f"it has more than {MOST_MEMBERS} members")
    if total > MOST_UNPACKED_BYTES:
        raise refused(f"it unpacks to more than {MOST_UNPACKED_BYTES} bytes")


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise refused(f"{name!r} points outside of it")


class ArtifactCache:
    """One node's artifacts, by sha256. Blocking, safe between threads and processes.

    When one is added, others are evicted until all have `max_bytes`, unless it is None.
    """

    def __init__(self, directory: Path, storage: ObjectStorage, *, max_bytes: int | None = None) -> None:
        self._directory = directory
        self._storage = storage
        self._max_bytes = max_bytes

    @property
    def storage(self) -> ObjectStorage:
        """The storage to fetch from."""
        return self._storage

    def fetch(self, artifact: ArtifactRef, *, unpacking: Unpacking = unpack) -> Path:
        """Return the directory of the unpacked artifact, which stays there for the time of an inspection.

        Raises ValidationFailed naming `checksum` when the object's content differs from the registered one.
        """
        os.close(self._claim(artifact, unpacking))
        return self._directory / artifact.sha256

    def hold(self, artifact: ArtifactRef) -> Path:
        """Do the same as `fetch`; the directory stays there as long as this process lives."""
        self._claim(artifact, unpack)
        return self._directory / artifact.sha256

    def _claim(self, artifact: ArtifactRef, unpacking: Unpacking) -> int:
        """Return a descriptor that keeps the artifact from eviction."""
        place = self._directory / artifact.sha256
        while (lock := claimed(place)) is None:
            with self._alone(artifact.sha256):
                if not place.is_dir():
                    self._fill(place, artifact, unpacking)
            self._make_room()
        return lock

    def add(self, uri: str, *, expected_sha256: str | None, unpacking: Unpacking = unpack) -> tuple[Path, ArtifactRef]:
        """Download an artifact that is new, and return its directory and its description."""
        with self.scratch() as scratch:
            archive = scratch / "archive"
            sha256, size = self._storage.download(uri, archive)
            artifact = ArtifactRef(uri, sha256, size)
            if expected_sha256 is not None and sha256 != expected_sha256:
                raise ValidationFailed.of("checksum", f"{uri} has sha256 {sha256}, not {expected_sha256}")
            place = self._directory / sha256
            with self._alone(sha256):
                if (lock := claimed(place)) is None:
                    _unpack_into_place(archive, place, unpacking, scratch=scratch)
                else:
                    os.close(lock)
        self._make_room()
        return place, artifact

    def _make_room(self) -> None:
        if self._max_bytes is not None:
            with self._alone("eviction"):
                evict(self._directory, max_bytes=self._max_bytes)

    def _fill(self, place: Path, artifact: ArtifactRef, unpacking: Unpacking) -> None:
        with self.scratch() as scratch:
            archive = scratch / "archive"
            sha256, _ = self._storage.download(artifact.uri, archive)
            if sha256 != artifact.sha256:
                raise ValidationFailed.of(
                    "checksum", f"{artifact.uri} has sha256 {sha256} but was registered with {artifact.sha256}"
                )
            _unpack_into_place(archive, place, unpacking, scratch=scratch)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Create a locked directory for this process; those of killed processes are removed first."""
        with self._alone("scratch"):
            for left in self._directory.glob(f"{SCRATCH}*"):
                _remove_if_dead(left)
            scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self._directory))
            lock = os.open(scratch, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            os.close(lock)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with FileLock(self._made() / f"{name}.lock"):
            yield

    def _made(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory


def _remove_if_dead(scratch: Path) -> None:
    try:
        lock = os.open(scratch, os.O_RDONLY)
    except FileNotFoundError:
        return  # its fetch has just ended
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(scratch, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def _unpack_into_place(archive: Path, place: Path, unpacking: Unpacking, *, scratch: Path) -> None:
    """Unpack, sync to disk, and rename last: after a power cut the name must not stand for half an artifact."""
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    unpacking(archive, unpacked)
    for directory, _, files in os.walk(unpacked):
        for name in files:
            sync(Path(directory, name))
        sync(Path(directory))
    os.utime(unpacked)  # an archive may say how old its directory is, and what is old is evicted
    unpacked.rename(place)
    sync(place.parent)
