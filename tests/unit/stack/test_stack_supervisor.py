"""Parts start by dependency, are started again when they die, and stop in order; nothing of theirs is left."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hotswap.bootstrap.layout import Layout, StackError
from hotswap.process.sessions import session_members
from hotswap.stack import part_holds, probes, processes, supervisor
from hotswap.stack.events import EventKind, Sender, StackEvent
from hotswap.stack.lifecycle import State
from hotswap.stack.part_holds import PartHold
from hotswap.stack.parts import StackPart
from hotswap.stack.ports import StackPorts
from hotswap.stack.supervisor import Supervisor
from tests.fixtures.disks import SmallDisk
from tests.fixtures.patience import patient

pytestmark = pytest.mark.slow
"""Real processes that die, freeze, and are waited for."""


class Heard(Sender):
    """A sender that remembers."""

    def __init__(self) -> None:
        self.events: list[StackEvent] = []

    def send(self, event: StackEvent) -> None:
        self.events.append(event)

    def said(self, kind: EventKind) -> list[str]:
        return [event.part for event in self.events if event.kind is kind]


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.logs.mkdir()
    made.run.mkdir()
    return made


def sleeper(place: Layout, name: str, **changes: Any) -> StackPart:
    ready = place.ready_file(name)
    code = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    fields: dict[str, Any] = {
        "name": name,
        "command": (sys.executable, "-S", "-c", code),
        "environment": {},
        "probe": probes.file(ready),
        "ready_file": ready,
    }
    return StackPart(**{**fields, **changes})


@contextmanager
def held_lock(place: Layout) -> Iterator[None]:
    """The guardian's part in a running stack."""
    with place.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def running(
    place: Layout, *parts: StackPart, start_seconds: float = 120, upkeep: Callable[[], None] = lambda: None
) -> AsyncIterator[Heard]:
    heard = Heard()
    state = State(
        supervisor=os.getpid(), guardian=os.getpid(), guardian_started=0, ports=StackPorts(), addresses={}, ready=False
    )
    subject = Supervisor(place, parts, heard, state=state.encode(), start_seconds=start_seconds)
    task = asyncio.create_task(subject.run(upkeep=upkeep))
    try:
        await until(lambda: EventKind.STACK_READY in [event.kind for event in heard.events] or task.done())
        yield heard
    finally:
        subject.stop()
        await task


async def until(condition: Callable[[], object], limit: float = 10.0) -> None:
    async with asyncio.timeout(patient(limit)):
        while not condition():
            await asyncio.sleep(0.02)


def recorded(place: Layout, name: str) -> processes.RecordedProcess:
    return next(entry for entry in processes.load(place.processes) if entry.name == name)


async def test_parts_start_after_what_they_need_and_stop_in_order(place: Layout) -> None:
    needs = frozenset({"postgres"})
    async with running(place, sleeper(place, "api", after=needs), sleeper(place, "postgres")) as heard:
        assert heard.said(EventKind.READY) == ["postgres", "api"]
        assert json.loads(place.state.read_text())["ready"] is True
        sessions = [entry.session for entry in processes.load(place.processes) if entry.name != "supervisor"]
    assert heard.said(EventKind.STOPPED) == ["api", "postgres"]
    assert not [pid for session in sessions for pid in session_members(session)]
    assert not place.state.exists()


async def test_a_dead_part_is_started_again_and_what_it_left_is_killed(place: Layout) -> None:
    ready = place.ready_file("s3")
    code = (
        "import pathlib, subprocess, time; subprocess.Popen(['/bin/sleep', '60']); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    part = sleeper(place, "s3", command=(sys.executable, "-S", "-c", code))
    async with running(place, part) as heard:
        first = recorded(place, "s3")
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: len(heard.said(EventKind.READY)) == 2)
        assert recorded(place, "s3").pid != first.pid
        assert session_members(first.session) == []
        [died] = [event for event in heard.events if event.kind is EventKind.DIED]
        assert "SIGKILL" in died.text


@pytest.mark.parametrize("how", list(PartHold))
async def test_a_held_part_stays_down_alone_until_it_is_released(place: Layout, how: PartHold) -> None:
    needs = frozenset({"postgres"})
    async with running(place, sleeper(place, "api", after=needs), sleeper(place, "postgres"), sleeper(place, "s3")):
        before = {name: recorded(place, name) for name in ("api", "postgres", "s3")}
        with held_lock(place):
            await asyncio.to_thread(part_holds.hold, place, ["api", "postgres"], how)
            assert not [name for name in ("api", "postgres") if processes.is_alive(before[name])]
            os.kill(before["s3"].pid, signal.SIGKILL)
            await until(lambda: recorded(place, "s3").pid != before["s3"].pid)
            assert session_members(recorded(place, "s3").session) != []
            assert [recorded(place, name) for name in ("api", "postgres")] == [before["api"], before["postgres"]]

            releasing = asyncio.create_task(asyncio.to_thread(part_holds.release, place, ["api"]))
            await asyncio.sleep(3 * supervisor.HOLD_INTERVAL_S)
            assert recorded(place, "api") == before["api"], "what it needs is held"
            await asyncio.to_thread(part_holds.release, place, ["postgres"])
            await releasing
            assert all(processes.is_alive(recorded(place, name)) for name in ("api", "postgres"))
            with pytest.raises(StackError, match="no part nobody; its parts: "):
                part_holds.hold(place, ["nobody"], how)


async def test_a_part_that_fails_after_its_hold_takes_no_other_with_it(
    place: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    ready = place.ready_file("api")
    code = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    broken = place.data / "broken"
    fails = sleeper(place, "api", command=(sys.executable, "-S", "-c", f"open({str(broken)!r}, 'x').close(); {code}"))
    async with running(place, fails, sleeper(place, "s3")) as heard:
        with held_lock(place):
            await asyncio.to_thread(part_holds.hold, place, ["api"], PartHold.STOP)
            releasing = asyncio.create_task(asyncio.to_thread(part_holds.release, place, ["api"]))
            await until(lambda: len(heard.said(EventKind.DIED)) > supervisor.ATTEMPTS)
            assert heard.said(EventKind.STACK_FAILED) == []
            broken.unlink()
            await releasing


async def test_a_task_is_done_when_it_ended_well(place: Layout) -> None:
    task = sleeper(place, "database", command=("/bin/true",), probe=None)
    async with running(place, task, sleeper(place, "api", after=frozenset({"database"}))) as heard:
        assert heard.said(EventKind.READY) == ["database", "api"]
        assert heard.said(EventKind.DIED) == []


async def test_a_part_that_never_starts_stops_everything_and_shows_its_last_words(
    place: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    broken = sleeper(place, "valkey", command=("/bin/sh", "-c", "echo no room; exit 3"))
    with pytest.raises(StackError, match=r"(?s)valkey doesn't start \(ended with 3\).*no room"):
        async with running(place, broken, sleeper(place, "s3")) as heard:
            assert EventKind.STACK_FAILED in [event.kind for event in heard.events]
    started = [entry for entry in processes.load(place.processes) if entry.name != "supervisor"]
    assert not [entry for entry in started if session_members(entry.session)]


async def test_somebody_elses_answer_is_not_ours(place: Layout) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        part = sleeper(place, "s3", port=other.getsockname()[1])
        heard = Heard()
        subject = Supervisor(place, [part], heard, state={}, start_seconds=120)
        task = asyncio.create_task(subject.run(upkeep=lambda: None))
        await until(part.ready_file.exists if part.ready_file else bool)
        await asyncio.sleep(0.3)
        assert heard.said(EventKind.READY) == []
        subject.stop()
        await task


async def test_a_part_that_ignores_the_signal_is_killed(place: Layout) -> None:
    ready = place.ready_file("temporal")
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    part = sleeper(place, "temporal", command=(sys.executable, "-S", "-c", code), stop_timeout=0.2)
    async with running(place, part):
        session = recorded(place, "temporal").session
    assert session_members(session) == []


def beating(ready: Path) -> str:
    return (
        "import asyncio, os; from hotswap.telemetry.logs import mark_ready\n"
        f"os.environ['HOTSWAP_READY_FILE'] = {str(ready)!r}\n"
        "async def main():\n mark_ready()\n await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )


async def test_a_frozen_part_is_started_again_and_one_that_wakes_up_in_time_is_not(
    place: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ALIVE_INTERVAL_S", 0.1)
    monkeypatch.setattr(probes, "SILENT_S", 3.0)
    ready = place.ready_file("worker")
    command = (sys.executable, "-P", "-c", beating(ready))
    probe, failed = probes.beats(ready), False

    async def alive() -> None:
        nonlocal failed
        failed = True
        await probe()
        failed = False

    part = sleeper(place, "worker", command=command, alive=alive, patience=60)
    async with running(place, part) as heard:
        first = recorded(place, "worker")
        os.kill(first.pid, signal.SIGSTOP)
        await until(lambda: failed, 60)
        os.kill(first.pid, signal.SIGCONT)
        await until(lambda: not failed, 60)
        assert heard.said(EventKind.DIED) == []
        os.kill(first.pid, signal.SIGSTOP)
        await until(lambda: len(heard.said(EventKind.READY)) == 2, 60)
        assert recorded(place, "worker").pid != first.pid
        assert session_members(first.session) == []
        [died] = [event for event in heard.events if event.kind is EventKind.DIED]
        assert "60 times in a row" in died.text
        assert "event loop" in died.text


async def test_a_part_that_answers_no_more_is_not_killed_while_it_is_being_stopped(
    place: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "ALIVE_INTERVAL_S", 0.05)
    ready = place.ready_file("postgres")
    code = (
        "import pathlib, signal, sys, time\n"
        f"ready = pathlib.Path({str(ready)!r})\n"
        "def stop(*_):\n ready.unlink(); time.sleep(1); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); ready.touch(); time.sleep(60)"
    )
    async with running(
        place, sleeper(place, "postgres", command=(sys.executable, "-S", "-c", code), patience=2)
    ) as heard:
        pass
    assert heard.said(EventKind.DIED) == []
    assert heard.said(EventKind.STOPPED) == ["postgres"]


async def test_a_part_that_lives_and_never_gets_ready_is_started_anew(place: Layout) -> None:
    ready = place.ready_file("ray")
    code = (
        "import pathlib, time\n"
        f"ready, before = pathlib.Path({str(ready)!r}), pathlib.Path({str(ready) + '.before'!r})\n"
        "ready.touch() if before.exists() else before.touch(); time.sleep(60)"
    )
    part = sleeper(place, "ray", command=(sys.executable, "-S", "-c", code))
    async with running(place, part, start_seconds=patient(4)) as heard:
        [died] = [event for event in heard.events if event.kind is EventKind.DIED]
    assert f"not ready after {patient(4) / 2:g} s" in died.text


async def test_a_start_that_takes_too_long_says_which_part_was_late_and_how_to_give_it_more_time(place: Layout) -> None:
    part = sleeper(place, "ray", command=(sys.executable, "-S", "-c", "import time; time.sleep(60)"))
    with pytest.raises(StackError, match=r"not ready after 1 s: ray \(.*--timeout PT10M"):
        async with running(place, part, start_seconds=1):
            pass


async def test_a_full_disk_stops_no_part_and_one_that_dies_comes_back(
    small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "UPKEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr(supervisor, "UPKEEP_RETRY_S", 0.05)
    monkeypatch.setattr(supervisor, "HOUSEKEEPING_INTERVAL_S", 0.05)
    place = Layout(small_disk.directory)
    place.logs.mkdir()
    place.run.mkdir()
    tried: list[bool] = []

    def upkeep() -> None:
        tried.append(False)
        (place.run / "token").write_text("x" * 10_000)
        tried[-1] = True

    async with running(place, sleeper(place, "envoy"), sleeper(place, "api"), upkeep=upkeep) as heard:
        await until(lambda: True in tried)
        (place.run / "token").unlink(missing_ok=True)
        small_disk.fill()
        failed = len(tried)
        await until(lambda: len(tried) > failed + 2)
        before = recorded(place, "envoy").pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: heard.said(EventKind.READY).count("envoy") == 2)
        assert not any(tried[failed + 1 :])
        assert recorded(place, "envoy").pid == before, "the disk has no room for what is so now"
        small_disk.free()
        await until(lambda: recorded(place, "envoy").pid != before)
        await until(lambda: tried[-1])
        assert json.loads(place.state.read_text())["parts"] == {"envoy": "ready", "api": "ready"}
        assert heard.said(EventKind.READY).count("api") == 1, "it went on all the time"


async def test_a_part_whose_log_cannot_be_opened_starts_all_the_same(place: Layout) -> None:
    place.log("api").mkdir()
    async with running(place, sleeper(place, "api")) as heard:
        assert heard.said(EventKind.READY) == ["api"]
