"""Events that the supervisor sends to the process that started it: one JSON object a line, through a pipe.

The supervisor has no terminal: it must outlive one. The reader may leave at any time; only messages are lost then.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum


class EventKind(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STACK_READY = "stack ready"
    STACK_FAILED = "stack failed"
    STACK_STOPPING = "stack stopping"


@dataclass(frozen=True, slots=True)
class StackEvent:
    kind: EventKind
    part: str = ""
    text: str = ""
    seconds: float = 0.0


class Sender:
    """The supervisor's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)  # a reader that has stopped reading must not stop us

    def send(self, event: StackEvent) -> None:
        if self._descriptor is None:
            return
        line = json.dumps(asdict(event)).encode() + b"\n"
        try:
            os.write(self._descriptor, line)
        except BlockingIOError:
            return
        except OSError:  # the reader left
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def receive(descriptor: int) -> Iterator[StackEvent]:
    """Yield events until the supervisor closes its end."""
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        for line in stream:
            fields = json.loads(line)
            yield StackEvent(**{**fields, "kind": EventKind(fields["kind"])})
