"""Archives are hostile: what is refused, and that nothing of it is left behind."""

import contextlib
import gzip
import io
import random
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.errors import ValidationFailed
from serving import artifacts
from serving.artifacts import unpack

TarMode = Literal["w", "w:gz", "w:bz2", "w:xz"]


def tar(path: Path, *members: tarfile.TarInfo, mode: TarMode = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
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
        member("back\\slash"),
        member("sparse", kind=tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda info: str(info.name),
)
def test_an_unsafe_tar_is_refused(tmp_path: Path, into: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        unpack(tar(tmp_path / "a.tar.gz", bad), into)
    assert refusal.value.details[0].field == "artifactPath"
    assert not (tmp_path / "escaped").exists()


def zipped(path: Path, name: str, *, mode: int = 0o100644, content: str = "x") -> Path:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as package:
        package.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("../escaped", 0o100644), ("/absolute", 0o100644), ("a\\..\\b", 0o100644), ("link", 0o120777)]
)
def test_an_unsafe_zip_is_refused(tmp_path: Path, into: Path, name: str, mode: int) -> None:
    with pytest.raises(ValidationFailed, match=r"points outside|is a link"):
        unpack(zipped(tmp_path / "a.zip", name, mode=mode), into)
    assert list(into.iterdir()) == []


def test_an_encrypted_zip_is_refused(tmp_path: Path, into: Path) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", "model.onnx").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ValidationFailed, match="encrypted"):
        unpack(tmp_path / "a.zip", into)


def test_a_zip_whose_content_is_not_what_it_says_is_refused(tmp_path: Path, into: Path) -> None:
    data = zipped(tmp_path / "a.zip", "model.onnx", content="content").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"content", b"CONTENT"))
    with pytest.raises(ValidationFailed, match="CRC"):
        unpack(tmp_path / "a.zip", into)


@pytest.mark.parametrize("second", ["model.onnx/inside", "n" * 300])
def test_names_that_no_disk_takes_are_the_archives_fault(tmp_path: Path, into: Path, second: str) -> None:
    with pytest.raises(ValidationFailed, match="names"):
        unpack(tar(tmp_path / "a.tar.gz", member("model.onnx"), member(second)), into)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, into: Path, kept: float) -> None:
    whole = tmp_path / "a.tar.gz"
    with tarfile.open(whole, "w:gz") as archive:
        info = tarfile.TarInfo("model.onnx")
        info.size = 50_000
        archive.addfile(info, io.BytesIO(random.Random(0).randbytes(info.size)))
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with pytest.raises(ValidationFailed):
        unpack(whole, into)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, into: Path, kind: bytes, first: bool) -> None:
    huge = tarfile.TarInfo("header")
    huge.type, huge.size = kind, 3 * 1024**2
    blocks = b"" if first else member("model.onnx").tobuf() + b"x".ljust(512, b"\0")
    blocks += huge.tobuf() + b"x" * huge.size
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(blocks))
    with pytest.raises(ValidationFailed, match="header in it is larger"):
        unpack(tmp_path / "a.tar.gz", into)


def test_a_negative_size_does_not_make_room(tmp_path: Path, into: Path) -> None:
    header = bytearray(member("model.onnx").tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + b"\0" * 1024)
    with pytest.raises(ValidationFailed):
        unpack(tmp_path / "a.tar", into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08\x00garbage"])
def test_what_is_no_archive_is_refused(tmp_path: Path, into: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValidationFailed):
        unpack(path, into)


def test_bombs_are_refused_before_they_are_written(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MOST_UNPACKED_BYTES", 100)
    with pytest.raises(ValidationFailed, match="more than 100 bytes"):
        unpack(tar(tmp_path / "big.tar.gz", member("big", size=101)), into)
    assert list(into.iterdir()) == []
    monkeypatch.setattr(artifacts, "MOST_MEMBERS", 2)
    with pytest.raises(ValidationFailed, match="more than 2 members"):
        unpack(tar(tmp_path / "many.tar.gz", *(member(str(number)) for number in range(3))), into)


def test_an_xz_that_asks_for_much_memory_is_refused(tmp_path: Path, into: Path) -> None:
    data = bytearray(tar(tmp_path / "a.tar.xz", member("model.onnx"), mode="w:xz").read_bytes())
    assert data[14:18] == b"\x21\x01\x16\x00", "the block's only filter: LZMA2, its dictionary 8 MiB"
    data[16] = 40  # 4 GiB
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    (tmp_path / "a.tar.xz").write_bytes(data)
    with pytest.raises(ValidationFailed, match=r"(?i)memory usage limit"):
        unpack(tmp_path / "a.tar.xz", into)
    assert list(into.iterdir()) == []


def test_a_zip_whose_method_takes_as_much_memory_as_it_likes_is_refused(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as package:
        package.writestr("model.onnx", "graph")
    with pytest.raises(ValidationFailed, match="compressed by a method other than"):
        unpack(tmp_path / "a.zip", into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_a_truncated_stream_is_refused(tmp_path: Path, into: Path, mode: TarMode, kept: float) -> None:
    with tarfile.open(tmp_path / "a", mode) as archive:
        info = tarfile.TarInfo("model.onnx")
        info.size = 50_000
        archive.addfile(info, io.BytesIO(random.Random(0).randbytes(info.size)))
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValidationFailed):
        unpack(tmp_path / "a", into)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_archive_is_unpacked(tmp_path: Path, into: Path, mode: TarMode) -> None:
    unpack(tar(tmp_path / "a.tar", member("folder/model.onnx", size=9), mode=mode), into)
    assert (into / "folder" / "model.onnx").read_bytes() == b"x" * 9


def test_a_good_zip_is_unpacked(tmp_path: Path, into: Path) -> None:
    unpack(zipped(tmp_path / "a.zip", "folder/model.onnx", content="graph"), into)
    assert (into / "folder" / "model.onnx").read_text() == "graph"


def test_a_zip_bomb_is_refused_before_it_is_written(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MOST_UNPACKED_BYTES", 100)
    with pytest.raises(ValidationFailed, match="more than 100 bytes"):
        unpack(zipped(tmp_path / "a.zip", "big", content="x" * 101), into)
    assert list(into.iterdir()) == []


def archives() -> dict[str, bytes]:
    """A good one of each kind, of two files."""
    found = {}
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for each in (member("model.onnx", size=700), member("a/golden.json", size=9)):
                archive.addfile(each, io.BytesIO(b"x" * each.size))
        found[mode] = file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("model.onnx", "x" * 700)
        package.writestr("a/golden.json", "[]")
    return {**found, "zip": file.getvalue()}


ARCHIVES = archives()
DAMAGE = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ARCHIVES)
@given(damage=DAMAGE, cut=st.integers(0, 10_000) | st.none())
def test_whatever_is_damaged_is_unpacked_or_refused_and_stays_inside(
    kind: str, damage: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(ARCHIVES[kind][:cut])
    for position, value in damage:
        if data:
            data[position % len(data)] = value
    with tempfile.TemporaryDirectory() as place:
        (archive := Path(place) / "archive").write_bytes(data)
        (into := Path(place) / "into").mkdir()
        with contextlib.suppress(ValidationFailed):
            unpack(archive, into)
        assert sorted(path.name for path in Path(place).iterdir()) == ["archive", "into"]
