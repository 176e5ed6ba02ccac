"""Record of our processes, and the end of every one of them.

A process is identified by boot, pid and start time in clock ticks since boot: a pid alone is reused, a wall-clock
start moves with the clock. Each part leads a session of its own, and whatever it starts stays in it (Ray rewrites its
titles, so markers in command lines or environments don't work). The record on disk is written as parts start, so that
the next `up` or `down` finds what a killed supervisor left behind: no orphan survives two commands, and nothing that
isn't ours is ever signaled.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from hotswap.process.sessions import boot_id, start_ticks
from hotswap.storage.files import write_json

END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RecordedProcess:
    """A process of ours as it was when it was started; `session` is the session that it leads or belongs to."""

    name: str
    pid: int
    started: int
    boot: str
    session: int


def record(name: str, pid: int) -> RecordedProcess | None:
    """Describe a running process; None if it is gone already."""
    started = start_ticks(pid)
    if started is None:
        return None
    return RecordedProcess(name=name, pid=pid, started=started, boot=boot_id(), session=os.getsid(pid))


def is_alive(process: RecordedProcess) -> bool:
    return process.boot == boot_id() and start_ticks(process.pid) == process.started


def save(path: Path, processes: Iterable[RecordedProcess]) -> None:
    """Replace the record on disk, atomically."""
    write_json(path, [asdict(process) for process in processes])


def load(path: Path) -> list[RecordedProcess]:
    """Return the recorded processes; a record that can't be read counts as none."""
    try:
        return [RecordedProcess(**entry) for entry in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def sweep(processes: Iterable[RecordedProcess], *, postgres_data: Path | None = None) -> int:
    """Kill every process of the recorded sessions, and any PostgreSQL on our data; return how many there were.

    A leader that is gone doesn't matter: its number stays taken as long as its session has members. A leader with
    another start time is another process, and so is its session.
    """
    boot = boot_id()
    ours = {entry.session: entry for entry in processes if entry.boot == boot and entry.session > 1}
    ours.pop(os.getsid(0), None)
    killed: set[int] = set()
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        members = set(_members(ours)) | set(postgres_on(postgres_data) if postgres_data else ())
        if not members:
            break
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= members
        time.sleep(0.02)
    return len(killed)


def _members(sessions: dict[int, RecordedProcess]) -> Iterator[int]:
    """Return living processes of the sessions, without sessions whose number was reused."""
    reused = {
        session
        for session, entry in sessions.items()
        if entry.pid == session and (start_ticks(session) or entry.started) != entry.started
    }
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            session = os.getsid(pid)
            if session in sessions and session not in reused and start_ticks(pid) is not None:
                yield pid


def postgres_on(data: Path) -> Iterator[int]:
    """Return PostgreSQL's processes on a data directory.

    Its backends leave the session, but all of them work in that directory.
    """
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            here = Path(f"/proc/{pid}/cwd").readlink() == data
            if here and Path(f"/proc/{pid}/exe").readlink().name == "postgres" and start_ticks(pid) is not None:
                yield pid
