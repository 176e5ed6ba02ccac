"""Log and readiness of every process of ours.

Logs are JSON lines on stderr, one object a record, so that one directory of files from a dozen processes can be
searched with one tool; whoever runs the process decides where stderr goes. Readiness is a file that the process
creates when it can do its work, and touches as long as its event loop turns: "it runs" and "it works" are different
facts, and a supervisor that takes the first for the second starts dependents too early, and a frozen process never
again. Traces are `hotswap/telemetry/tracing.py`'s business, metrics that of the processes that have some.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.msgspec import MsgspecFormatter

BEAT_SECONDS = 1.0

trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The trace id of the present request, if there is one: what is logged and audited meanwhile names it."""


reason: ContextVar[str | None] = ContextVar("reason", default=None)
"""The reason of the present request, as its caller gives it in a header: for its changes, if nothing else gives one."""


@contextlib.contextmanager
def traced(told: str | None) -> Iterator[None]:
    """Use this trace id inside the block, if there is one; otherwise the present one."""
    token = trace_id.set(told or trace_id.get())
    try:
        yield
    finally:
        trace_id.reset(token)


class JsonFormatter(MsgspecFormatter):
    """One JSON object a line: time, level, part, logger, message, `extra=` fields, and a traceback if there is one."""

    def __init__(self, part: str) -> None:
        super().__init__(
            ["name", "message"],
            rename_fields={"name": "logger", "exc_info": "exception", "stack_info": "stack"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message", "taskName"],
            json_default=str,
        )
        self._part = part

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Begin the line with the fields that all our lines have."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["part"] = self._part
        if (traced := trace_id.get()) is not None:
            log_data["trace_id"] = traced
        super().add_fields(log_data, record, message_dict)


def configure_logging(part: str, *, level: int = logging.INFO) -> None:
    """Send this process's log to stderr as JSON lines; called once, at its start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(part))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


_next_beat: asyncio.TimerHandle | None = None


def mark_ready() -> None:
    """Tell whoever supervises this process that it can do its work: touch the file named by `HOTSWAP_READY_FILE`.

    Within an event loop it goes on by itself, every second, until the loop ends or hangs.
    """
    global _next_beat  # one for the process, however often this is called
    if not (path := os.environ.get("HOTSWAP_READY_FILE")):
        return
    Path(path).touch()
    if _next_beat is not None:
        _next_beat.cancel()
    with contextlib.suppress(RuntimeError):  # no loop runs
        _next_beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, mark_ready)
