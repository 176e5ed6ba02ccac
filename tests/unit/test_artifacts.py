"""Archives are hostile: what is refused, and that nothing of it is left behind."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from hotswap.domain.errors import ValidationFailed
from serving import artifacts
from serving.artifacts import unpack
from serving.spool import SEGMENT_BYTES, CorruptFrame, SpoolWriter, frames, has_writer, segments


def tar(path: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


@pytest.fixture
def into(tmp_path: Path) -> Path:
    directory = tmp_path / "into"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    "bad",
    [
        member("../escaped"),
        member("/absolute"),
        member("a/../../escaped"),
        member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("hard", kind=tarfile.LNKTYPE, link="../x"),
        member("device", kind=tarfile.CHRTYPE),
        member("pipe", kind=tarfile.FIFOTYPE),
    ],
    ids=lambda info: str(info.name),
)
def test_an_unsafe_tar_is_refused(tmp_path: Path, into: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        unpack(tar(tmp_path / "a.tar.gz", bad), into)
    assert refusal.value.details[0].field == "artifactPath"
    assert not (tmp_path / "escaped").exists()


def test_an_unsafe_zip_is_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("../escaped", "x")
    with pytest.raises(ValidationFailed, match="points outside"):
        unpack(path, into)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08\x00garbage"])
def test_what_is_no_archive_is_refused(tmp_path: Path, into: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValidationFailed):
        unpack(path, into)


def test_bombs_are_refused_before_they_are_written(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MOST_BYTES", 100)
    with pytest.raises(ValidationFailed, match="more than 100 bytes"):
        unpack(tar(tmp_path / "big.tar.gz", member("big", size=101)), into)
    assert list(into.iterdir()) == []
    monkeypatch.setattr(artifacts, "MOST_MEMBERS", 2)
    with pytest.raises(ValidationFailed, match="more than 2 members"):
        unpack(tar(tmp_path / "many.tar.gz", *(member(str(number)) for number in range(3))), into)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_good_archive_is_unpacked(tmp_path: Path, into: Path, mode: str) -> None:
    unpack(tar(tmp_path / "a.tar", member("folder/model.onnx", size=9), mode=mode), into)
    assert (into / "folder" / "model.onnx").read_bytes() == b"x" * 9


# --- the spool --------------------------------------------------------------------------------------------------------


def read_all(directory: Path) -> list[bytes]:
    return [record for path in segments(directory) for record in frames(path.read_bytes())]


def test_records_are_readable_as_soon_as_they_are_written(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=10_000)
    assert writer.write(b"one")
    assert writer.write(b"two")
    (directory,) = (tmp_path / "app").iterdir()
    assert read_all(directory) == [b"one", b"two"]
    assert has_writer(directory)


def test_a_full_spool_drops_and_counts_and_takes_records_again_once_shipped(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=100)
    assert [writer.write(b"x" * 40) for _ in range(3)] == [True, True, False]
    (directory,) = (tmp_path / "app").iterdir()
    assert (directory / "dropped").read_text() == "1"
    assert writer.dropped == 1


def test_a_torn_last_frame_is_left_out_and_a_corrupt_one_is_told(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=SEGMENT_BYTES)
    writer.write(b"whole")
    writer.write(b"torn")
    (directory,) = (tmp_path / "app").iterdir()
    data = segments(directory)[0].read_bytes()
    assert list(frames(data[:-1])) == [b"whole"]
    with pytest.raises(CorruptFrame):
        list(frames(data[:10] + b"?" + data[11:]))
