"""Processes as the operating system knows them: their starts, their sessions, and who inherits their orphans.

A pid alone is reused, and a wall-clock start moves with the clock, so a process is known by boot, pid and start time in
clock ticks since boot.
"""

import contextlib
import ctypes
import os
from pathlib import Path

import psutil

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec it would be too late
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def become_subreaper() -> None:
    """Adopt orphans below this process in place of init, so that it sees and can end them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int, parent: int) -> None:
    """Ask for a signal when the parent's starting thread ends; called in the child, after any change of user."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None for no process (a zombie counts as none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def session_members(session: int) -> list[int]:
    """Return the living processes of one session."""
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session and start_ticks(pid) is not None:
                members.append(pid)
    return members
