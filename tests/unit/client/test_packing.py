"""What `hotswap push` packs: the same bytes for the same files, and nothing that registration would refuse."""

import os
import tarfile
from pathlib import Path

import pytest

from hotswap.client.packing import NotPackable, is_archive, pack, sha256_of
from serving.artifacts import unpack


def write(directory: Path, *names: str) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return directory


def test_the_same_files_are_the_same_archive_whenever_they_were_written(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "model.onnx", "deep/golden.json")
    second = write(tmp_path / "b", "deep/golden.json", "model.onnx")
    os.utime(second / "model.onnx", (1, 1))
    (second / "model.onnx").chmod(0o600)
    archives = [tmp_path / "first.tar", tmp_path / "second.tar"]
    for source, archive in zip((first, second), archives, strict=True):
        pack(source, archive)
    assert sha256_of(archives[0]) == sha256_of(archives[1])
    (into := tmp_path / "into").mkdir()
    unpack(archives[0], into)
    assert sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()) == [
        "deep/golden.json",
        "model.onnx",
    ]


def test_a_file_is_packed_alone_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    source = write(tmp_path / "a", "model.onnx", ".git/config", ".DS_Store")
    for what in (source, source / "model.onnx"):
        pack(what, tmp_path / "a.tar")
        with tarfile.open(tmp_path / "a.tar") as archive:
            assert archive.getnames() == ["model.onnx"]


def test_links_and_empty_directories_are_refused_by_name(tmp_path: Path) -> None:
    source = write(tmp_path / "a", "model.onnx")
    (source / "other.onnx").symlink_to("/etc/passwd")
    with pytest.raises(NotPackable, match=r"other\.onnx is a link"):
        pack(source, tmp_path / "a.tar")
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(NotPackable, match="there is no file in"):
        pack(empty, tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("name", "archive"), [("m.tar.gz", True), ("m.zip", True), ("m.skops", False), ("m.pt", False), ("m.onnx", False)]
)
def test_what_is_an_archive_is_told_by_its_name(tmp_path: Path, name: str, archive: bool) -> None:
    assert is_archive(write(tmp_path, name) / name) is archive
