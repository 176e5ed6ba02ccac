"""The spool: a record is readable once written, and nothing that happens to the disk fails an answer."""

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import spool
from serving.spool import SpoolWriter, dropped, frame, has_writer, read_frames, segments
from tests.fixtures.patience import wait_until


def open_spool(tmp_path: Path, *, max_bytes: int = 10_000) -> tuple[SpoolWriter, Path]:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=max_bytes)
    (directory,) = (tmp_path / "app").iterdir()
    return writer, directory


def read_all(directory: Path) -> list[bytes]:
    return [record for path in segments(directory) for record in read_frames(path.read_bytes(), is_final=True).records]


def framed(*records: bytes) -> bytes:
    return b"".join(frame(record) for record in records)


@given(records=st.lists(st.binary(max_size=40), max_size=5), data=st.data())
def test_a_torn_tail_costs_only_the_record_it_tears(records: list[bytes], data: st.DataObject) -> None:
    whole = framed(*records)
    cut = data.draw(st.integers(0, len(whole)))
    kept = [at for at in range(len(records) + 1) if len(framed(*records[:at])) <= cut][-1]
    found = read_frames(whole[:cut], is_final=False)
    assert (found.records, found.size) == (records[:kept], len(framed(*records[:kept])))
    final = read_frames(whole[:cut], is_final=True)
    assert (final.records, final.size, final.unreadable) == (records[:kept], cut, cut - found.size)


@given(
    records=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6),
    is_final=st.booleans(),
    data=st.data(),
)
def test_whatever_is_written_over_a_frame_costs_that_frame_alone(
    records: list[bytes], is_final: bool, data: st.DataObject
) -> None:
    spoiled = data.draw(st.integers(0, len(records) - 1))
    good = frame(records[spoiled])
    bad = data.draw(st.binary(min_size=len(good), max_size=len(good)).filter(lambda other: other != good))
    before, after = records[:spoiled], records[spoiled + 1 :]
    found = read_frames(framed(*before) + bad + framed(*after), is_final=is_final)
    assert found.records == [*before, *after]
    counts = bool(after) or is_final
    assert (found.unreadable, found.size) == (len(good) * counts, len(framed(*records)) - len(good) * (not counts))


def test_a_batch_ends_with_the_record_that_fills_it() -> None:
    found = read_frames(framed(b"a" * 10, b"b" * 10, b"c" * 10), is_final=True, most_bytes=15)
    assert (found.records, found.size) == ([b"a" * 10, b"b" * 10], len(framed(b"a" * 10, b"b" * 10)))


def test_records_are_readable_as_soon_as_they_are_written(tmp_path: Path) -> None:
    writer, directory = open_spool(tmp_path)
    assert writer.write(b"one")
    assert writer.write(b"two")
    assert read_all(directory) == [b"one", b"two"]


def test_a_full_segment_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 2 * len(frame(b"x" * 40)))
    writer, directory = open_spool(tmp_path)
    records = [bytes([number]) * 40 for number in range(7)]
    assert all(writer.write(record) for record in records)
    assert [path.name for path in segments(directory)] == [f"{number:08}.seg" for number in range(1, 5)]
    assert read_all(directory) == records


def test_a_full_spool_drops_counts_and_takes_records_again_once_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, directory = open_spool(tmp_path, max_bytes=2 * len(frame(b"x" * 40)))
    assert [writer.write(b"x" * 40) for _ in range(4)] == [True, True, False, False]
    assert (writer.dropped, dropped(directory)) == (2, 2)
    segments(directory)[0].unlink()
    monkeypatch.setattr(writer, "_measured_at", 0.0)
    assert writer.write(b"x" * 40)


def test_a_segment_that_the_shipper_takes_while_it_is_measured_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, directory = open_spool(tmp_path, max_bytes=len(frame(b"")))
    monkeypatch.setattr(spool, "segments", lambda _: [directory / "00000000.seg"])
    assert writer.write(b"") is True
    assert writer.write(b"x" * 40) is False


@pytest.mark.parametrize("call", ["write", "open"])
def test_a_full_disk_drops_and_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 50)
    writer, directory = open_spool(tmp_path)
    assert writer.write(b"a" * 40)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, call, full)
        disk.setattr(os, "pwrite", full)
        assert [writer.write(b"b" * 40) for _ in range(3)] == [False] * 3
    assert writer.dropped == 3
    # There is room again: the writer still has its segment, and goes on.
    assert writer.write(b"c" * 40)
    assert read_all(directory) == [b"a" * 40, b"c" * 40]


def test_a_short_write_leaves_no_torn_frame_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, directory = open_spool(tmp_path)
    real = os.write
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", lambda file, data: real(file, data[:5]))
        assert not writer.write(b"torn")
    assert writer.write(b"whole")
    assert read_all(directory) == [b"whole"]


def file_behind(descriptor: object) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def open_in(directory: Path) -> list[str]:
    """This process's open files below it."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            links.append(file_behind(each.name))
    return [link for link in links if link.startswith(str(directory))]


def syncs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files below it that are brought to the disk, as they come; at once, and not a second later."""
    found: list[str] = []

    def note(descriptor: int) -> None:
        if (path := file_behind(descriptor)).startswith(str(directory)):  # other tests' spools are synced too
            found.append(path)

    monkeypatch.setattr(spool, "SYNC_SECONDS", 0.002)
    monkeypatch.setattr(os, "fdatasync", note)
    return found


def test_what_was_written_is_brought_to_the_disk_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = syncs(tmp_path, monkeypatch)
    writer, _ = open_spool(tmp_path)
    assert writer.write(b"one")
    wait_until(lambda: len(synced) > 0, every=0.002)
    time.sleep(0.02)  # ten times as long as it takes
    assert len(synced) == 1
    assert writer.write(b"two")
    wait_until(lambda: len(synced) > 1, every=0.002)
    time.sleep(0.02)
    assert len(synced) == 2
    writer.close()


def test_what_could_not_be_brought_to_the_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = syncs(tmp_path, monkeypatch)
    writer, _ = open_spool(tmp_path)
    with monkeypatch.context() as disk:
        failed: list[int] = []

        def broken(descriptor: int) -> None:
            if file_behind(descriptor).startswith(str(tmp_path)):
                failed.append(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        disk.setattr(os, "fdatasync", broken)
        assert writer.write(b"record")
        wait_until(lambda: bool(failed), every=0.002)
    wait_until(lambda: bool(synced), every=0.002)
    writer.close()


def test_a_closed_spool_is_on_the_disk_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    writer, directory = open_spool(tmp_path)
    synced = syncs(tmp_path, monkeypatch)
    monkeypatch.setattr(spool, "SYNC_SECONDS", 3_600.0)
    assert writer.write(b"record")
    assert len(open_in(tmp_path)) == 3
    writer.close()
    assert synced, "and not only a second later"
    assert set(threading.enumerate()) <= before
    assert open_in(tmp_path) == []
    assert not has_writer(directory)
    assert writer.write(b"late") is False
    assert read_all(directory) == [b"record"]


def test_a_spool_has_a_writer_until_its_process_is_gone(tmp_path: Path) -> None:
    _, directory = open_spool(tmp_path)
    assert has_writer(directory)
    assert has_writer(directory), "asking must not take the lock away"
    lost = tmp_path / "app" / "lost"
    lost.mkdir()
    assert not has_writer(lost)
    (lost / "lock").touch()
    assert not has_writer(lost)
    with (lost / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert has_writer(lost)
    assert not has_writer(lost)
