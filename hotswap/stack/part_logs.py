"""Bounds the logs of the parts while these run.

A part writes to its log by a descriptor that it got at its start. A rename would take the file along with the part, so
the end of a large log is copied and the file is emptied, as `copytruncate` of logrotate does. All writers append, so
they go on at the new end. What a part writes between the copy and the truncation is lost.
"""

import logging
import os
import shutil
from pathlib import Path

from hotswap.storage.files import replacing

MAX_LOG_BYTES = 20_000_000
"""The size from which a log is set aside, and the most that is kept of it."""

log = logging.getLogger(__name__)


def bound(logs: Path) -> None:
    """Set aside every log in this directory that is too large, in place of what was set aside before."""
    for path in logs.glob("*.log"):
        try:
            if path.stat().st_size > MAX_LOG_BYTES:
                _set_aside(path)
        except OSError as error:
            log.warning("a log can't be bounded", extra={"log": str(path), "error": str(error)})


def _set_aside(path: Path) -> None:
    try:
        with path.open("rb") as file, replacing(path.with_suffix(".log.1")) as copy:
            file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
            shutil.copyfileobj(file, copy)
    except OSError as error:  # on a full disk the room is worth more than the past
        log.warning("a log is emptied and not kept", extra={"log": str(path), "error": str(error)})
    os.truncate(path, 0)
