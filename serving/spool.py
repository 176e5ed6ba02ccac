"""The local spool: each record is in the page cache before its request is answered, so a kill -9 loses none.

One directory per replica process, of append-only segments of frames (marker, length, CRC-32, record). Its writer holds
a lock on it for life: an unlocked directory is a dead replica's, which the shipper empties and removes. A full disk or
spool drops records and counts them; it never blocks or fails an answer. A writer leaves features out of its records
when its spool has none to spare for them. A power cut may cost the last second, and a frame that a disk spoiled costs
itself: behind it the next marker is looked for.
"""

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import uuid
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

MARKER = b"\xf5HS1"
"""A marker that is in no text: 0xf5 isn't UTF-8."""
FRAME = struct.Struct(">4sII")
SEGMENT_BYTES = 4 * 1024**2
SYNC_SECONDS = 1.0
LOCK = "lock"
DROPPED = "dropped"

logger = logging.getLogger(__name__)


class SpoolWriter:
    """Appends records; used by one process, from one thread, until it is closed.

    A thread of its own brings to the disk what was written, a second later; it sleeps while nothing is.
    """

    def __init__(self, directory: Path, *, application: str, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # A segment is removed once the next one has been begun: a spool of one alone would stay full for ever.
        self._most_in_segment = min(SEGMENT_BYTES, max_bytes // 2)
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        parent = directory / application
        parent.mkdir(parents=True, exist_ok=True)
        # Locked before it gets its name: nobody may take it for a dead replica's in between.
        unnamed = parent / f".{name}"
        unnamed.mkdir()
        self._lock = os.open(unnamed / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._directory = unnamed.rename(parent / name)
        self._dropped_file = os.open(self._directory / DROPPED, os.O_CREAT | os.O_RDWR, 0o600)
        self._number = 0
        self._segment = -1
        self._full: deque[int] = deque()
        self._segment_bytes = 0
        self._used = 0
        self._measured_at = 0.0
        self.dropped = 0
        self._next_segment()
        self._unsynced, self._closing = threading.Event(), threading.Event()
        self._syncing = threading.Thread(target=self._sync_what_is_written, name="spool-sync", daemon=True)
        self._syncing.start()

    def has_spare(self, size: int) -> bool:
        """Return whether at most half of its room is taken once `size` more bytes are."""
        half = self._max_bytes // 2
        return self._used + size <= half or self._measure() + size <= half

    def write(self, record: bytes) -> bool:
        """Write a record, and return whether it was kept; a dropped one is counted."""
        size = FRAME.size + len(record)
        try:
            if self._used + size > self._max_bytes and self._measure() + size > self._max_bytes:
                return self._drop()
            if self._segment_bytes + size > self._most_in_segment:
                self._next_segment()
            written = os.write(self._segment, frame(record))
            if written != size:
                os.ftruncate(self._segment, self._segment_bytes)
                return self._drop()
        except OSError:
            return self._drop()
        self._segment_bytes += size
        self._used += size
        if not self._unsynced.is_set():
            self._unsynced.set()
        return True

    def close(self) -> None:
        """Bring what was written to the disk and give the spool up: the shipper may empty and remove it.

        A record that is written afterwards is dropped.
        """
        self._closing.set()
        self._unsynced.set()
        self._syncing.join()
        self._sync()
        for file in (self._segment, self._dropped_file, self._lock):
            os.close(file)
        self._segment = self._dropped_file = self._lock = -1

    def _next_segment(self) -> None:
        path = self._directory / f"{self._number + 1:08}.seg"
        # Opened before the full one is given up: on a full disk this raises, and the writer must still own a segment.
        segment = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        if self._segment >= 0:
            self._full.append(self._segment)
        self._segment, self._segment_bytes = segment, 0
        self._number += 1

    def _measure(self) -> int:
        """Measure what the shipper has left of the spool, at most ten times a second."""
        now = time.monotonic()
        if now - self._measured_at > 0.1:
            self._measured_at = now
            self._used = sum(_size(path) for path in segments(self._directory))
        return self._used

    def _drop(self) -> bool:
        self.dropped += 1
        # On a full disk the count itself may find no room; it is written with the next drop that does.
        with contextlib.suppress(OSError):
            os.pwrite(self._dropped_file, str(self.dropped).encode(), 0)
        return False

    def _sync_what_is_written(self) -> None:
        while self._unsynced.wait() and not self._closing.wait(SYNC_SECONDS):
            self._unsynced.clear()  # before it is synced: what is written meanwhile has its own turn
            self._sync()

    def _sync(self) -> None:
        try:
            while self._full:
                os.fdatasync(self._full[0])
                os.close(self._full.popleft())
            os.fdatasync(self._segment)
        except OSError:
            self._unsynced.set()  # it is tried again
            logger.warning("the spool could not be synced; a power cut would cost more than a second")


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return 0  # shipped in the meantime


def segments(directory: Path) -> list[Path]:
    """Return a replica's segments, oldest first."""
    return sorted(directory.glob("*.seg"))


def has_writer(directory: Path) -> bool:
    """Return whether the process that writes this spool is alive."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def dropped(directory: Path) -> int:
    """Return how many records this spool's writer has dropped."""
    try:
        return int((directory / DROPPED).read_bytes() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def frame(record: bytes) -> bytes:
    return FRAME.pack(MARKER, len(record), zlib.crc32(record)) + record


@dataclass(frozen=True, slots=True)
class SpoolFrames:
    """Records, the bytes that are dealt with, and of these the ones that hold no record any more."""

    records: list[bytes]
    size: int
    unreadable: int


def read_frames(data: bytes, *, is_final: bool, most_bytes: int | None = None) -> SpoolFrames:
    """Return the whole records at the start of `data`: `most_bytes` of them, and the one that exceeds it.

    Bytes that are no frame are skipped up to the next frame. Unless `is_final`, they are left if no frame follows: they
    may still be being written.
    """
    records: list[bytes] = []
    position = taken = unreadable = 0
    while position < len(data) and (most_bytes is None or taken < most_bytes):
        record = _record_at(data, position)
        if record is not None:
            records.append(record)
            position += FRAME.size + len(record)
            taken += len(record)
            continue
        following = _next_frame(data, position + 1)
        if following is None and not is_final:
            break
        end = len(data) if following is None else following
        unreadable += end - position
        position = end
    return SpoolFrames(records, position, unreadable)


def _record_at(data: bytes, position: int) -> bytes | None:
    start = position + FRAME.size
    if start > len(data):
        return None
    marker, length, checksum = FRAME.unpack_from(data, position)
    record = data[start : start + length]
    is_whole = marker == MARKER and len(record) == length and zlib.crc32(record) == checksum
    return record if is_whole else None


def _next_frame(data: bytes, position: int) -> int | None:
    while (position := data.find(MARKER, position)) >= 0:
        if _record_at(data, position) is not None:
            return position
        position += 1
    return None
