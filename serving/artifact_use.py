"""The use of a node's artifacts: who uses one marks it, and those that were used least recently are evicted.

A process that serves an artifact holds a shared lock on its directory for life; one that is held is never evicted,
and counts as used when somebody would have evicted it. An inspection only marks what it uses, which is then left alone
for `GRACE_SECONDS`. An eviction first takes the name away, under the exclusive lock, so an artifact is there whole or
not at all; what a killed eviction leaves is scratch.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

SCRATCH = "tmp"
"""The beginning of a scratch directory's name, with which no checksum begins."""
GRACE_SECONDS = 900.0
"""No inspection uses an artifact for longer."""

_CHECKSUM = re.compile(r"[0-9a-f]{64}")

logger = logging.getLogger(__name__)


def claimed(place: Path) -> int | None:
    """Mark an artifact as used now, and return a descriptor that keeps it from eviction until it is closed.

    None if the artifact is not there.
    """
    try:
        lock = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(place)
        if os.path.samestat(os.fstat(lock), place.stat()):
            return lock
    except FileNotFoundError:
        pass  # it has just been evicted
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


@dataclass(frozen=True, slots=True)
class _Artifact:
    place: Path
    used_at: float
    size: int


def evict(directory: Path, *, max_bytes: int) -> None:
    """Remove what was used least recently, until the others have `max_bytes`; nothing that is in use is removed."""
    artifacts = sorted(_artifacts(directory), key=lambda each: each.used_at)
    total = sum(each.size for each in artifacts)
    for artifact in artifacts:
        if total <= max_bytes:
            return
        if _evicted(artifact.place):
            total -= artifact.size
            logger.info("an artifact was evicted", extra={"artifact": artifact.place.name, "bytes": artifact.size})
    if total > max_bytes:
        logger.warning(
            "the artifacts in use are larger than the cache may be", extra={"bytes": total, "max_bytes": max_bytes}
        )


def _artifacts(directory: Path) -> list[_Artifact]:
    found = []
    for place in directory.iterdir():
        if _CHECKSUM.fullmatch(place.name) is not None:
            try:
                found.append(_Artifact(place, place.stat().st_mtime, _size(place)))
            except FileNotFoundError:
                continue  # another process has evicted it
    return found


def _size(place: Path) -> int:
    """Return the room that it takes on the disk."""
    return sum(
        os.lstat(os.path.join(directory, name)).st_blocks * 512  # noqa: PTH118 - of up to 10,000 files each
        for directory, folders, files in os.walk(place)
        for name in (*folders, *files)
    )


def _evicted(place: Path) -> bool:
    """Evict an artifact unless it is in use, and return whether it was evicted."""
    try:
        lock = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - place.stat().st_mtime < GRACE_SECONDS:
            return False
        gone = place.rename(place.with_name(f"{SCRATCH}-{secrets.token_hex(8)}"))
        shutil.rmtree(gone, ignore_errors=True)
    except BlockingIOError:
        os.utime(place)
        return False
    except FileNotFoundError:
        return False
    finally:
        os.close(lock)
    return True
