"""The sweep kills all that is ours, orphans included, and never anybody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotswap.process.sessions import session_members
from hotswap.stack import processes
from hotswap.stack.processes import RecordedProcess
from tests.fixtures.patience import wait_until

FAMILY = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a session of its own and a child in it."""
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    for pid in session_members(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def recorded(process: subprocess.Popen[bytes]) -> RecordedProcess:
    found = processes.record("part", process.pid)
    assert found is not None
    assert found.session == process.pid
    return found


def test_a_whole_session_is_swept(leader: subprocess.Popen[bytes]) -> None:
    assert processes.sweep([recorded(leader)]) == 2
    assert session_members(leader.pid) == []


def test_orphans_of_a_dead_leader_are_swept(leader: subprocess.Popen[bytes]) -> None:
    entry = recorded(leader)
    leader.kill()
    leader.wait()
    assert processes.sweep([entry]) == 1
    assert session_members(leader.pid) == []


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_reused_number_is_left_alone(leader: subprocess.Popen[bytes], change: dict[str, Any]) -> None:
    assert processes.sweep([replace(recorded(leader), **change)]) == 0
    assert leader.poll() is None


def test_our_own_session_is_never_swept() -> None:
    own = processes.record("part", os.getpid())
    assert own is not None
    assert processes.sweep([own]) == 0


def test_the_dead_are_not_alive(leader: subprocess.Popen[bytes]) -> None:
    entry = recorded(leader)
    assert processes.is_alive(entry)
    leader.kill()
    wait_until(lambda: not processes.is_alive(entry), every=0.01)  # a zombie: nobody has waited for it
    assert processes.record("part", leader.pid) is None


def test_the_record_survives_writing_and_reading_and_nonsense(tmp_path: Path) -> None:
    entry = RecordedProcess(name="a", pid=2, started=3, boot="b", session=2)
    processes.save(tmp_path / "processes.json", [entry])
    assert processes.load(tmp_path / "processes.json") == [entry]
    (tmp_path / "processes.json").write_text('[{"name": "a"}]')
    assert processes.load(tmp_path / "processes.json") == []
    assert processes.load(tmp_path / "absent.json") == []
