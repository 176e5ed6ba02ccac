"""Runs commands, and counts what they, their children and the servers that they leave behind take of the processor.

This process is the subreaper of all that it starts: a server that detaches itself becomes its child, so nothing escapes
the count, and nothing outlives the run. Linux only.
"""

import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from hotswap.process.sessions import become_subreaper

PART = "HOTSWAP_TEST_PART"
SERVER = "HOTSWAP_TEST_SERVER"
"""The environment variable that names a server which several processes of the tests share."""
CURRENT_TEST = "PYTEST_CURRENT_TEST"

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""How often new detached processes are looked for: one that ends sooner is counted, but nobody knows whose it was."""
END_SECONDS = 15.0
"""How long a server may go on after the part that started it, before it is killed."""


@dataclass
class Ended:
    """How a command ended; costs are processor seconds, user and system."""

    code: int = 0
    wall: float = 0.0
    command: float = 0.0
    """The cost of the command and of all children that were waited for."""
    servers: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """The cost of what detached itself, by the test file that started it or by the server's name."""
    killed: list[str] = field(default_factory=list)
    """What outlived the command and had to be killed, or the command itself if it took too long."""

    @property
    def cost(self) -> float:
        return self.command + sum(self.servers.values())


@dataclass
class _Child:
    part: str
    label: str
    what: str


class _Run:
    """Several commands at the same time, each under a name."""

    def __init__(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], limit: float) -> None:
        self._ended = {name: Ended() for name in commands}
        self._began = time.monotonic()
        self._deadline = self._began + limit
        self._look_at = self._began
        self._running: dict[int, str] = {}
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._detached: dict[int, _Child] = {}
        self._dead_since: dict[str, float] = {}
        self._prefix = max(map(len, commands)) if len(commands) > 1 else 0
        self._printers: list[threading.Thread] = []
        for name, command in commands.items():
            self._start(name, command, {**environment, PART: name})

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._running[process.pid] = name
        self._processes[process.pid] = process
        printer = threading.Thread(target=self._print, args=(name, process), daemon=True)
        printer.start()
        self._printers.append(printer)

    def _print(self, name: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        before = f"{name:{self._prefix}} | " if self._prefix else ""
        with process.stdout as lines:
            for line in lines:
                print(f"{before}{line}", end="", flush=True)

    def finish(self) -> dict[str, Ended]:
        """Wait for every command and for what each has left behind; an interrupt ends them all first."""
        try:
            return self._wait()
        except KeyboardInterrupt:
            for pid in self._running:
                os.kill(pid, signal.SIGINT)
            self._deadline = time.monotonic() + END_SECONDS
            self._wait()
            raise

    def _wait(self) -> dict[str, Ended]:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid:
                self._bury(pid, os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)
                continue
            if time.monotonic() >= self._look_at:
                self._look()
                self._look_at = time.monotonic() + LOOK_SECONDS
            self._end_what_is_late()
            time.sleep(POLL_SECONDS)
        for printer in self._printers:
            printer.join(1)
        return self._ended

    def _bury(self, pid: int, code: int, cost: float) -> None:
        if (name := self._running.pop(pid, None)) is not None:
            ended = self._ended[name]
            self._processes[pid].returncode = code  # or it would wait for the process once more
            ended.code, ended.command, ended.wall = code, cost, time.monotonic() - self._began
            self._dead_since[name] = time.monotonic()
        else:
            child = self._detached.pop(pid, None) or _Child(self._likely_part(), "(short-lived servers)", "")
            self._ended[child.part].servers[child.label] += cost

    def _look(self) -> None:
        """Learn of each detached process whose it is, while its environment can still be read."""
        for process in psutil.Process().children():
            if process.pid in self._running or process.pid in self._detached:
                continue
            with suppress(psutil.Error):
                environment = process.environ()
                test = environment.get(CURRENT_TEST, "").partition("::")[0]
                self._detached[process.pid] = _Child(
                    environment.get(PART) or self._likely_part(),
                    environment.get(SERVER) or test or "(other servers)",
                    " ".join(process.cmdline())[:120],
                )

    def _likely_part(self) -> str:
        return next(iter(self._running.values()), next(reversed(self._ended)))

    def _end_what_is_late(self) -> None:
        now = time.monotonic()
        if now > self._deadline:
            for pid, name in self._running.items():
                self._kill(pid, name, f"{name} itself, which took more than its limit")
        for pid, child in list(self._detached.items()):
            if now > self._dead_since.get(child.part, now) + END_SECONDS:
                self._kill(pid, child.part, child.what)

    def _kill(self, pid: int, part: str, what: str) -> None:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            below = process.children(recursive=True)
            for each in (process, *below):
                with suppress(psutil.Error):
                    each.send_signal(signal.SIGKILL)
            if what not in self._ended[part].killed:
                self._ended[part].killed.append(what)


def run(
    commands: Mapping[str, Sequence[str]], *, environment: Mapping[str, str] | None = None, limit: float
) -> dict[str, Ended]:
    """Run the commands at the same time and print what they print.

    Args:
        commands: by the name under which each is reported.
        environment: more variables for all of them.
        limit: seconds after which a command that still runs is killed.
    """
    become_subreaper()
    return _Run(commands, environment or {}, limit).finish()
