"""Starts the parts, watches them, starts them again, and stops them in order.

Invariants: one supervisor per data directory (the lock is held by descriptor, so it ends with us); a part is reported
ready only when its own process lives and answers; whatever a dead part left in its session is killed before it is
started again, so that no old process serves beside the new one; a part that lives and falls silent is killed and
started again too; a part that a person holds down stays down; when we
end, in whatever way, nothing of ours goes on (parts die with us by PDEATHSIG, the guardian sweeps, and so does the next
command). A full disk ends none of this: what can't be written is written later.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from hotswap.bootstrap.layout import Layout, StackError
from hotswap.process.sessions import die_with_parent
from hotswap.stack import part_logs, processes
from hotswap.stack.events import EventKind, Sender, StackEvent
from hotswap.stack.part_holds import PartHold, PartState, wished
from hotswap.stack.parts import STOP_WAVES, StackPart
from hotswap.stack.probes import listens
from hotswap.storage.files import write_json

PROBE_INTERVAL_S = 0.1
HOLD_INTERVAL_S = 0.2
ALIVE_INTERVAL_S = 5.0
ATTEMPTS = 4
"""The number of times that a part may die before it was ever ready; then the start has failed."""
FIRST_DELAY_S, LAST_DELAY_S = 0.25, 10.0
SETTLED_S = 30.0
UPKEEP_INTERVAL_S, UPKEEP_RETRY_S = 6 * 3600.0, 60.0
HOUSEKEEPING_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class _StopAskedError(Exception):
    """Ends the wait for a failure."""


@dataclass(slots=True)
class Running:
    """One part's life: its present process, and whether it was ever ready since it was last held."""

    part: StackPart
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set unless a person holds it down."""
    process: asyncio.subprocess.Process | None = None
    recorded: processes.RecordedProcess | None = None
    reason: str = "waits for others"
    """The reason why it isn't ready yet."""

    def __post_init__(self) -> None:
        self.released.set()


class Supervisor:
    """Runs parts until it is asked to stop.

    All parts must be ready within `start_seconds`. One that lives and isn't ready after half of them is started anew: a
    start that hung once may not hang again.
    """

    def __init__(
        self,
        layout: Layout,
        parts: Sequence[StackPart],
        sender: Sender,
        *,
        state: Mapping[str, object],
        start_seconds: float,
    ) -> None:
        self._layout = layout
        self._start_seconds = start_seconds
        self._running = {part.name: Running(part) for part in parts}
        self._sender = sender
        self._state = dict(state)
        self._parts: dict[str, PartState] = {}
        self._was_ready = False
        self._is_unsaved = False
        """True while what is on disk is older than what is so."""
        self._stopping = asyncio.Event()
        self._begun = time.monotonic()
        self._known = [found for found in (processes.record("supervisor", os.getpid()),) if found]

    def stop(self) -> None:
        """Ask for an orderly stop; asked again, it is quick."""
        if self._stopping.is_set():
            for running in self._running.values():
                self._kill(running)
        self._stopping.set()

    async def run(self, upkeep: Callable[[], None]) -> None:
        """Start everything, watch until told to stop, stop everything. `upkeep` is called every few hours.

        Raises:
            StackError: a part could not be started; everything is stopped then.
        """
        self._save_state()
        watches = [asyncio.create_task(self._keep(running)) for running in self._running.values()]
        started = asyncio.create_task(self._announce())
        stopping = asyncio.create_task(self._until_asked())
        tending = asyncio.create_task(self._tend(upkeep))
        housekeeping = asyncio.create_task(self._keep_house())
        holding = asyncio.create_task(self._follow_holds())
        everything = [*watches, started, stopping, tending, housekeeping, holding]
        try:
            done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_EXCEPTION)
            for failed in filter(None, (task.exception() for task in done)):
                if not isinstance(failed, _StopAskedError):
                    self._sender.send(StackEvent(EventKind.STACK_FAILED, text=str(failed)))
                    raise failed
        finally:
            self._stopping.set()
            await self._stop_all()
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
            for running in self._running.values():
                self._kill(running)
            self._layout.state.unlink(missing_ok=True)

    async def _until_asked(self) -> None:
        await self._stopping.wait()
        raise _StopAskedError

    async def _announce(self) -> None:
        """Say that all parts are ready, or that one takes too long."""
        everyone = asyncio.gather(*(running.ready.wait() for running in self._running.values()))
        try:
            await asyncio.wait_for(everyone, self._start_seconds)
        except TimeoutError:
            late = [running for running in self._running.values() if not running.ready.is_set()]
            detail = "; ".join(f"{running.part.name} ({running.reason})" for running in late)
            raise StackError(
                f"not ready after {self._start_seconds:.0f} s: {detail}; logs: {self._layout.logs}; "
                "on a slow machine give it more time: hotswap up --timeout PT10M"
            ) from None
        self._was_ready = True
        self._save_state()
        self._sender.send(StackEvent(EventKind.STACK_READY, seconds=time.monotonic() - self._begun))

    async def _tend(self, upkeep: Callable[[], None]) -> None:
        wait = UPKEEP_INTERVAL_S
        while True:
            await asyncio.sleep(wait)
            try:
                upkeep()
                wait = UPKEEP_INTERVAL_S
            except Exception:  # whatever is wrong, the parts go on
                log.exception("the upkeep failed; it is tried again in %g s", UPKEEP_RETRY_S)
                wait = UPKEEP_RETRY_S

    async def _keep_house(self) -> None:
        """Bound the logs, and write what a full disk had no room for."""
        while True:
            await asyncio.to_thread(part_logs.bound, self._layout.logs)
            if self._is_unsaved:
                self._is_unsaved = False
                self._save_processes()
                self._save_state()
            await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)

    async def _follow_holds(self) -> None:
        while True:
            holds = wished(self._layout)
            held = [running for name, running in self._running.items() if name in holds and running.released.is_set()]
            for running in self._running.values():
                if running.part.name not in holds:
                    running.released.set()
            for running in held:
                running.released.clear()
            for running in held:
                if holds[running.part.name] is PartHold.KILL:
                    self._kill(running)
            await self._stop_in_order(held)
            await asyncio.sleep(HOLD_INTERVAL_S)

    async def _until_may_start(self, running: Running) -> None:
        """Wait until nobody holds it down any more, and the parts that it needs are there."""
        if not running.released.is_set():
            running.ready.clear()
            self._save_part(running, PartState.HELD)
            await running.released.wait()
            self._save_part(running, PartState.STARTING)
        for needed in running.part.after & self._running.keys():
            await self._running[needed].ready.wait()

    async def _keep(self, running: Running) -> None:
        """Keep one part running: start it, wait until it is ready, wait until it ends, clean up, and repeat."""
        part, failures, delay = running.part, 0, FIRST_DELAY_S
        await self._until_may_start(running)
        while not self._stopping.is_set():
            begun = time.monotonic()
            ending = await self._live(running, begun)
            if ending is None or self._stopping.is_set():
                return
            if not running.released.is_set():
                await self._until_may_start(running)
                delay = FIRST_DELAY_S
                continue
            failures += not running.ready.is_set()
            if failures >= ATTEMPTS and not self._was_ready:  # a stack that serves goes on without it
                raise StackError(f"{part.name} doesn't start ({ending}):\n{self._last_words(part)}")
            delay = 0.0 if time.monotonic() - begun > SETTLED_S else delay
            self._say(EventKind.DIED, part, text=f"{ending}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(max(FIRST_DELAY_S, delay * 2), LAST_DELAY_S)

    async def _live(self, running: Running, begun: float) -> str | None:
        """Run one process of a part from start to end; return how it ended, or None when a task is done."""
        try:
            process = await self._start(running)
        except (OSError, StackError) as error:
            return str(error)
        late = await self._until_ready(running, process, begun)
        silence = late or await self._until_silent(running, process)
        code = await process.wait()
        if running.part.probe is None and code == 0:
            self._ready(running, begun)
            return None
        if not self._stopping.is_set():
            self._kill(running)
        if silence is not None:
            return silence
        return f"ended with {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    async def _start(self, running: Running) -> asyncio.subprocess.Process:
        part = running.part
        if part.prepare is not None:
            await part.prepare()
        if self._stopping.is_set() or not running.released.is_set():
            raise StackError("not to be started any more")
        if part.ready_file is not None:
            part.ready_file.unlink(missing_ok=True)
        self._say(EventKind.STARTING, part)
        self._save_part(running, PartState.STARTING)
        parent = os.getpid()
        with _opened(self._layout.log(part.name)) as output:
            with contextlib.suppress(OSError):
                output.write(f"--- {part.name} started at {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
            process = await asyncio.create_subprocess_exec(
                *part.command,
                env=part.environment,
                cwd="/" if part.run_as else self._layout.data,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(part.orphan_signal, parent),
                **(part.run_as or {}),
            )
        running.process, running.recorded = process, processes.record(part.name, process.pid)
        self._save_processes()
        if not running.released.is_set():  # held in this very moment: nobody else saw this process
            self._kill(running)
        return process

    async def _until_ready(self, running: Running, process: asyncio.subprocess.Process, begun: float) -> str | None:
        """Ask until the part answers or its process has ended; kill it when it takes too long, and return why."""
        part = running.part
        while part.probe is not None and process.returncode is None and not self._stopping.is_set():
            try:
                await part.probe()
            except Exception as error:  # noqa: BLE001  whatever is wrong, it isn't ready yet
                running.reason = f"{type(error).__name__}: {error}"
            else:
                # The answer may be another server's: ours must live, and listen itself.
                if process.returncode is None and (part.port is None or listens(process.pid, part.port)):
                    self._ready(running, begun)
                    return None
                running.reason = f"port {part.port} is answered by a process that isn't its own"
            if time.monotonic() - begun > (patience := self._start_seconds / 2):
                self._kill(running)
                return f"not ready after {patience:g} s ({running.reason})"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), PROBE_INTERVAL_S)
        return None

    async def _until_silent(self, running: Running, process: asyncio.subprocess.Process) -> str | None:
        """Ask on while it lives; kill it when it has not answered for too long, and return what was wrong."""
        part, failed = running.part, 0
        ask = part.alive or part.probe
        while ask is not None and process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), ALIVE_INTERVAL_S)
            if self._stopping.is_set() or not running.released.is_set():
                return None  # whoever stops it waits for its end
            try:
                async with asyncio.timeout(ALIVE_INTERVAL_S):
                    await ask()
            except Exception as error:  # noqa: BLE001  whatever is wrong, it doesn't do its work
                failed += 1
                running.reason = f"{type(error).__name__}: {error}"
            else:
                failed = 0
            if failed >= part.patience and process.returncode is None:
                self._kill(running)
                return f"lived and did not answer, {failed} times in a row ({running.reason})"
        return None

    def _ready(self, running: Running, begun: float) -> None:
        running.ready.set()
        self._save_part(running, PartState.READY)
        self._say(EventKind.READY, running.part, text=running.part.address or "", seconds=time.monotonic() - begun)

    async def _stop_all(self) -> None:
        self._sender.send(StackEvent(EventKind.STACK_STOPPING))
        await self._stop_in_order(self._running.values())

    async def _stop_in_order(self, some: Iterable[Running]) -> None:
        """Stop these in order; tasks, which are in no wave, come first."""
        left = {running.part.name: running for running in some}
        waves = [[left.pop(name) for name in wave if name in left] for wave in STOP_WAVES]
        for wave in [list(left.values()), *waves]:
            await asyncio.gather(*(self._stop(running) for running in wave))

    async def _stop(self, running: Running) -> None:
        process, part = running.process, running.part
        if process is None:
            return
        if process.returncode is None:
            self._say(EventKind.STOPPING, part)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(part.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), part.stop_timeout)
        self._kill(running)
        await process.wait()
        self._say(EventKind.STOPPED, part)

    def _kill(self, running: Running) -> None:
        """Kill whatever is left of a part's session."""
        if running.recorded is not None:
            processes.sweep([running.recorded], postgres_data=running.part.leaves_session)

    def _save_processes(self) -> None:
        started = [running.recorded for running in self._running.values() if running.recorded]
        with self._saving("processes"):
            processes.save(self._layout.processes, [*self._known, *started])

    def _save_state(self) -> None:
        with self._saving("state"):
            write_json(self._layout.state, {**self._state, "ready": self._was_ready, "parts": self._parts})

    @contextlib.contextmanager
    def _saving(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._is_unsaved = True
            log.warning("the %s can't be written now, and are written later", what, extra={"error": str(error)})

    def _save_part(self, running: Running, state: PartState) -> None:
        if running.part.probe is not None:
            self._parts[running.part.name] = state
            self._save_state()

    def _say(self, kind: EventKind, part: StackPart, *, text: str = "", seconds: float = 0.0) -> None:
        self._sender.send(StackEvent(kind, part.name, text, round(seconds, 2)))

    def _last_words(self, part: StackPart) -> str:
        path = self._layout.log(part.name)
        if not path.exists():
            return "    it came to no log of its own"
        lines = path.read_text(errors="replace").splitlines()[-12:]
        return "\n".join([*(f"    {line[:300]}" for line in lines), f"(all of it: {path})"])


def _opened(path: Path) -> BinaryIO:
    """Open a log to append to it; where there is no room for a new one, what the part says is lost."""
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        log.warning("a part has no log", extra={"log": str(path), "error": str(error)})
        return Path(os.devnull).open("ab")
