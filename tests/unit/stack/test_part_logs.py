"""Logs are bounded while their parts write to them, also on a disk that is full."""

import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.stack import part_logs
from tests.fixtures.disks import SmallDisk

WRITER = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush(); sys.stderr.write('.\\n')"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_logs, "MAX_LOG_BYTES", 1_000)


def test_a_part_goes_on_writing_into_the_log_that_was_emptied(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    with path.open("ab") as output:
        part = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.PIPE, text=True
        )
    assert part.stdin is not None
    assert part.stderr is not None

    def said(line: str) -> None:
        assert part.stdin is not None
        assert part.stderr is not None
        part.stdin.write(f"{line}\n")
        part.stdin.flush()
        part.stderr.readline()

    said("a" * 800)
    part_logs.bound(tmp_path)
    assert path.stat().st_size == 801, "not too large yet"
    said("b" * 800)
    part_logs.bound(tmp_path)
    assert path.read_text() == ""
    said("c" * 10)
    assert path.read_text() == "c" * 10 + "\n", "at the new end, without a hole before it"
    assert (tmp_path / "worker.log.1").read_text() == ("a" * 800 + "\n" + "b" * 800 + "\n")[-1_000:]
    said("d" * 1_000)
    part_logs.bound(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]
    assert (tmp_path / "worker.log.1").read_text().startswith("d")
    part.stdin.close()
    part.stderr.close()
    assert part.wait() == 0


def test_what_is_no_log_is_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "old.log.1"):
        (tmp_path / name).write_text("x" * 5_000)
    (tmp_path / "directory.log").mkdir()
    part_logs.bound(tmp_path)
    part_logs.bound(tmp_path / "nowhere")
    assert {each.name for each in tmp_path.iterdir()} == {"notes.txt", "old.log.1", "directory.log"}


def test_a_full_disk_gets_its_room_back(small_disk: SmallDisk) -> None:
    path = small_disk.directory / "worker.log"
    path.write_text("x" * 300_000)
    small_disk.fill()
    part_logs.bound(small_disk.directory)
    assert path.stat().st_size == 0
    assert small_disk.free_bytes() >= 290_000
    assert not list(small_disk.directory.glob("worker.log.*"))
