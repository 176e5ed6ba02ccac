"""Ray's head as one part: `ray start`, then a parent for its daemons that repairs what can be repaired alone.

`ray start` leaves its daemons behind as orphans; as their subreaper this process becomes their parent, and sees each
death at once. `gcs_server` and the dashboard are started again by their own command line, environment and directory:
replicas answer on meanwhile, whereas `ray start --block` would end them all. Without the raylet there is no head: this
process ends, and the stack starts the whole head again. Whatever happens to us, our session dies with us: SIGTERM,
which also arrives when our own parent is killed, kills it.

Ray's state store is for a `gcs_server` that is started again. A head that starts drops it: all that it tells of is dead
by then, and one whose writer died at the wrong moment keeps every later head from starting Serve
(docs/decisions/0012-ray-starts-empty.md). What Serve ran comes back by `serving.ray.applications`.

Run as `python -m serving.ray.head -- <options of ray start>`.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from hotswap.process.sessions import become_subreaper, session_members, start_ticks
from hotswap.telemetry.logs import configure_logging, mark_ready
from serving.ray import applications

log = logging.getLogger(__name__)

STATE = "RAY_gcs_storage_path"
MAX_REPAIRS, REPAIR_WINDOW_S = 5, 60.0


@dataclass(slots=True)
class Daemon:
    """One process of Ray's head, with all that is needed to start it again."""

    name: str
    pid: int
    command: list[str]
    environment: dict[str, str]
    directory: str
    repairs: list[float] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None  # kept: a forgotten Popen would bury the dead before we see them


MARKS = {"gcs_server": "/gcs/gcs_server", "raylet": "/raylet/raylet", "dashboard": "/dashboard/dashboard.py"}
REPAIRABLE = ("gcs_server", "dashboard")


def _empty_state() -> Path | None:
    """Return the directory of `gcs_server`'s state, emptied; None where it is no directory of this machine."""
    if not (path := os.environ.get(STATE)):
        return None
    shutil.rmtree(path, ignore_errors=True)
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def start(options: list[str]) -> dict[str, Daemon]:
    """Run `ray start` and adopt what it leaves behind. Whoever started us ends us where that takes too long.

    Raises:
        RuntimeError: Ray didn't start; its output has said why.
    """
    environment = {name: value for name, value in os.environ.items() if name != "HOTSWAP_READY_FILE"}
    command = [sys.executable, "-P", "-m", "serving.ray.launcher", "start", "--head", *options]
    finished = subprocess.run(command, env=environment, check=False)  # noqa: S603
    if finished.returncode != 0:
        raise RuntimeError(f"ray start ended with {finished.returncode}")
    daemons: dict[str, Daemon] = {}
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            line = child.cmdline()
            for name, mark in MARKS.items():
                if any(mark in word for word in line[:3]):
                    daemons[name] = Daemon(name, child.pid, line, child.environ(), child.cwd())
    if missing := MARKS.keys() - daemons.keys():
        raise RuntimeError(f"ray start left no {', '.join(sorted(missing))}")
    return daemons


def watch(daemons: dict[str, Daemon]) -> None:
    """Reap dead processes and repair; return when the head can't go on."""
    while True:
        pid, status = os.waitpid(-1, 0)
        dead = next((daemon for daemon in daemons.values() if daemon.pid == pid), None)
        if dead is None:
            continue  # an orphan of the tree
        if dead.name not in REPAIRABLE or not _may_repair(dead):
            log.error("%s ended (%s): the head can't go on", dead.name, status)
            return
        log.warning("%s ended (%s): starting it again", dead.name, status)
        if dead.name == "dashboard":
            _kill_orphaned_modules({daemon.pid for daemon in daemons.values()})
        repair(dead)


def repair(daemon: Daemon) -> None:
    """Start one daemon again as Ray did."""
    daemon.process = subprocess.Popen(  # noqa: S603
        daemon.command,
        env=daemon.environment,
        cwd=daemon.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    daemon.pid = daemon.process.pid


def _may_repair(daemon: Daemon) -> bool:
    now = time.monotonic()
    daemon.repairs = [*(when for when in daemon.repairs if now - when < REPAIR_WINDOW_S), now]
    return len(daemon.repairs) <= MAX_REPAIRS


def _kill_orphaned_modules(daemons: set[int]) -> None:
    """Kill the dashboard's children, which are ours now: they hold ports that the new dashboard may want."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            line = " ".join(child.cmdline()[:4])
            if child.pid not in daemons and ("ray-dashboard-" in line or "multiprocessing.forkserver" in line):
                child.kill()


def _bring_back(state: Path | None, options: list[str]) -> None:
    """Restore the last state: a head is ready once it runs what the last one ran."""
    if state is None:
        mark_ready()
        return
    serve = applications.serve_api(options, os.environ)
    kept = applications.KeptApplications(state.with_name("applications.json"), serve)
    kept.restore()
    mark_ready()
    kept.restore_rest()
    kept.keep()


def end_session(_signal: int = 0, _frame: FrameType | None = None) -> None:
    """Kill everything of our session, ourselves last. Ray's tree has no state that a slow stop would save."""
    ours = os.getpid()
    while members := [pid for pid in session_members(os.getsid(0)) if pid != ours]:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    os._exit(0)


def main() -> None:
    configure_logging("ray")
    if os.getsid(0) != os.getpid() or start_ticks(os.getpid()) is None:
        raise SystemExit("needs a session of its own: it kills all of it")
    become_subreaper()
    signal.signal(signal.SIGTERM, end_session)
    try:
        options = sys.argv[sys.argv.index("--") + 1 :]
        state = _empty_state()
        daemons = start(options)
        threading.Thread(target=_bring_back, args=(state, options), daemon=True).start()
        watch(daemons)
    except RuntimeError as error:
        log.error("%s", error)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
