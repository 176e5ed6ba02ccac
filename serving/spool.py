"""The local spool: each record is in the page cache before its request is answered, so a kill -9 loses none.

One directory per replica process, of append-only segments of frames (length, CRC-32, record). Its writer holds a lock
on it for life: an unlocked directory is a dead replica's, which the shipper empties and removes. A full disk or spool
drops records and counts them; it never blocks or fails an answer. A power cut may cost the last second.
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
from collections.abc import Iterator
from pathlib import Path

FRAME = struct.Struct(">II")
SEGMENT_BYTES = 4 * 1024**2
SYNC_SECONDS = 1.0
LOCK = "lock"
DROPPED = "dropped"

logger = logging.getLogger(__name__)


class SpoolWriter:
    """Appends records; used by one process, from one thread."""

    def __init__(self, directory: Path, *, application: str, max_bytes: int) -> None:
        self._max_bytes = max_bytes
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
        threading.Thread(target=self._sync_forever, name="spool-sync", daemon=True).start()

    def write(self, record: bytes) -> bool:
        """Whether the record was kept; a dropped one is counted."""
        size = FRAME.size + len(record)
        try:
            if self._used + size > self._max_bytes and self._measure() + size > self._max_bytes:
                return self._drop()
            if self._segment_bytes + size > SEGMENT_BYTES:
                self._next_segment()
            written = os.write(self._segment, FRAME.pack(len(record), zlib.crc32(record)) + record)
            if written != size:
                os.ftruncate(self._segment, self._segment_bytes)
                return self._drop()
        except OSError:
            return self._drop()
        self._segment_bytes += size
        self._used += size
        return True

    def _next_segment(self) -> None:
        path = self._directory / f"{self._number + 1:08}.seg"
        # Opened before the full one is given up: on a full disk this raises, and the writer must still own a segment.
        segment = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        if self._segment >= 0:
            self._full.append(self._segment)
        self._segment, self._segment_bytes = segment, 0
        self._number += 1

    def _measure(self) -> int:
        """What the shipper has left of the spool; asked at most ten times a second."""
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

    def _sync_forever(self) -> None:
        while True:
            time.sleep(SYNC_SECONDS)
            try:
                while self._full:
                    os.fdatasync(self._full[0])
                    os.close(self._full.popleft())
                os.fdatasync(self._segment)
            except OSError:
                logger.warning("the spool could not be synced; a power cut would cost more than a second")


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return 0  # shipped in the meantime


def segments(directory: Path) -> list[Path]:
    """A replica's segments, oldest first."""
    return sorted(directory.glob("*.seg"))


def has_writer(directory: Path) -> bool:
    """Whether the process that writes this spool lives."""
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


class CorruptFrame(Exception):
    """A frame whose checksum is wrong: what follows it can't be found any more."""


def frames(data: bytes) -> Iterator[bytes]:
    """The whole records at the start of `data`; an incomplete last frame is left out. Raises CorruptFrame."""
    position = 0
    while position + FRAME.size <= len(data):
        length, checksum = FRAME.unpack_from(data, position)
        end = position + FRAME.size + length
        if end > len(data):
            return
        record = data[position + FRAME.size : end]
        if zlib.crc32(record) != checksum:
            raise CorruptFrame
        yield record
        position = end
