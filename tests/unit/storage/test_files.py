"""A file that is replaced is whole at any moment, and there after a power cut."""

import os
import re
import stat
from pathlib import Path

import pytest

from hotswap.storage.files import write_atomically
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("content", ["what is new", b"what is new"])
def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "file.json"
    file.write_text("what was there")
    file.chmod(0o640)
    write_atomically(file, content)
    assert (file.read_text(), mode(file)) == ("what is new", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_mode_that_is_said_or_that_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "said", "x", mode=0o664)
        write_atomically(tmp_path / "secret", "x", mode=0o600)
        write_atomically(tmp_path / "any", "x")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("said", "secret", "any")] == [0o664, 0o600, 0o640]


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is on the disk before its content stands for an empty file after a power cut."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name.split('.json')[0]}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append(f"name {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_atomically(tmp_path / "file.json", "x")
    assert done == ["sync .file", "name file.json", f"sync {tmp_path.name}"]


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file.json"
    write_atomically(file, "what was there")

    def full(descriptor: int) -> None:
        raise OSError(28, f"No space left on device: {descriptor}")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, "what is new")
    assert file.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_no_file_is_replaced_in_any_other_way() -> None:
    """Only directories get their names by a rename of their own."""
    renaming = {
        str(path.relative_to(ROOT))
        for path in sources(*PRODUCT)
        if re.search(r"\.rename\(|\bos\.(replace|rename)\(|\bdraft\.replace\(", path.read_text())
    }
    directories = {
        "serving/artifact_use.py",
        "serving/artifacts.py",
        "serving/spool.py",
        "hotswap/stack/postgres.py",
    }
    assert renaming == {"hotswap/storage/files.py", *directories}
