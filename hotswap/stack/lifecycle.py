"""One stack per data directory: its lock, what it says of itself, and how it is ended from outside.

The lock is a `flock` that guardian and supervisor hold by one shared descriptor: it can't be left behind by a crash,
and it covers the time in which the guardian clears up after a dead supervisor. Two servers on the same data would
both start, silently.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hotswap.bootstrap.layout import Layout, StackError, create
from hotswap.process.sessions import start_ticks
from hotswap.stack import processes
from hotswap.stack.ports import StackPorts, at_base
from hotswap.storage.files import write_json

LOCK_PATIENCE_S = 1.0
STOP_TIMEOUT_S = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `hotswap up`; sent to the guardian and the supervisor as JSON."""

    data_dir: str
    port_base: int | None = None
    num_cpus: int = 8
    num_gpus: int | None = None
    start_seconds: float = 120.0
    """The time until all parts must be ready."""

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def decode(text: str) -> "Options":
        return Options(**json.loads(text))

    @property
    def layout(self) -> Layout:
        return Layout(Path(self.data_dir))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a running stack, in `run/stack.json`."""

    supervisor: int
    guardian: int
    guardian_started: int
    ports: StackPorts
    addresses: dict[str, str]
    ready: bool
    parts: dict[str, str] = field(default_factory=dict)
    """A `part_holds.PartState` by part; tasks of the bootstrap have none."""

    def encode(self) -> dict[str, Any]:
        return asdict(self)


def read_state(layout: Layout) -> State | None:
    try:
        fields = json.loads(layout.state.read_text())
        return State(**{**fields, "ports": StackPorts(**fields["ports"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def choose_ports(layout: Layout, port_base: int | None) -> StackPorts:
    """Return the requested ports (0: the defaults), or the last start's, so that a second `up` finds everything."""
    if port_base is None:
        return at_base(last_port_base(layout))
    ports = at_base(port_base or None)
    write_json(layout.options, {"portBase": port_base or None})
    return ports


def last_port_base(layout: Layout) -> int | None:
    try:
        base = json.loads(layout.options.read_text())["portBase"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if isinstance(base, int) else None


def is_running(layout: Layout) -> bool:
    """Return whether a process holds the lock."""
    try:
        with layout.lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def acquire(layout: Layout) -> int:
    """Take the lock; returns the descriptor that holds it.

    Raises:
        StackError: a stack runs on this data directory.
    """
    create(layout)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_S  # an `env` that looks holds it for a moment
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise already_running(layout) from None
            time.sleep(0.05)
        else:
            return descriptor


def already_running(layout: Layout) -> StackError:
    state = read_state(layout)
    pid = f" (process {state.guardian})" if state else ""
    return StackError(f"a stack runs on {layout.data} already{pid}; `hotswap down` stops it")


def sweep_leftovers(layout: Layout) -> int:
    """Kill and remove what an earlier stack left; call it under the lock. Returns how many processes there were."""
    killed = processes.sweep(processes.load(layout.processes), postgres_data=layout.postgres)
    for file in (layout.processes, layout.state, layout.holds):
        file.unlink(missing_ok=True)
    _remove_ray_temp(layout)
    return killed


def _remove_ray_temp(layout: Layout) -> None:
    """Remove what Ray leaves outside of the data directory; its last logs, the replicas' too, are kept."""
    logs = layout.ray_sessions / "session_latest" / "logs"
    if logs.is_dir():
        with contextlib.suppress(OSError):
            shutil.rmtree(layout.ray_last_logs, ignore_errors=True)
            shutil.move(logs, layout.ray_last_logs)
    shutil.rmtree(layout.ray_temp, ignore_errors=True)


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    descriptor = acquire(layout)
    try:
        yield
    finally:
        os.close(descriptor)


def end(layout: Layout) -> tuple[bool, int]:
    """Stop the stack on a data directory, whatever state it is in; returns whether it ran, and how many were swept.

    Raises:
        StackError: it doesn't stop.
    """
    if not layout.run.exists():
        return False, 0
    ran = is_running(layout)
    if ran:
        _ask_to_stop(layout)
    with locked(layout):
        return ran, sweep_leftovers(layout)


def _ask_to_stop(layout: Layout) -> None:
    """Send SIGTERM to the guardian, or to a supervisor without one; SIGKILL to both if they hang."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    asked: dict[int, int] = {}
    while is_running(layout) or any(start_ticks(pid) == started for pid, started in asked.items()):
        late = time.monotonic() > deadline
        for pid, started in _holders(layout):
            if late:
                _signal(pid, signal.SIGKILL)
            elif not asked:
                _signal(pid, signal.SIGTERM)
                asked[pid] = started
        if time.monotonic() > deadline + 10:
            raise StackError(f"the stack on {layout.data} doesn't stop; its lock {layout.lock} is still held")
        time.sleep(0.05)


def _holders(layout: Layout) -> list[tuple[int, int]]:
    """Return the processes that may hold the lock, the guardian first: pid and start."""
    state = read_state(layout)
    holders = []
    if state and start_ticks(state.guardian) == state.guardian_started:
        holders.append((state.guardian, state.guardian_started))
    alive = (entry for entry in processes.load(layout.processes) if processes.is_alive(entry))
    return [*holders, *((entry.pid, entry.started) for entry in alive if entry.name == "supervisor")]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
