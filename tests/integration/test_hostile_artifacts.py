"""Hostile artifacts, all the way from S3: each is refused with a clear word, and neither loses nor leaves anything."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from hotswap.storage.objects import ObjectStorage
from serving.artifacts import ArtifactCache
from serving.inspection import SubprocessInspector
from tests.fixtures.models import save_identity
from tests.fixtures.s3 import S3Server
from tests.unit.serving.test_artifacts import member

URI = "s3://ml-models/hostile/model.tar.gz"


@pytest.fixture(scope="module")
def shared_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


def packed(*members: tarfile.TarInfo) -> bytes:
    """Something that could be a graph, and these."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for each in (member("model.onnx", size=100), *members):
            archive.addfile(each, io.BytesIO(bytes(each.size)))
    return file.getvalue()


def declared(size: int) -> bytes:
    """A tar whose member says that it is so large, and whose content is yet to come."""
    info = tarfile.TarInfo("model.onnx")
    info.size = size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))


def overlapping() -> bytes:
    """A zip that names one piece of itself often: 9 members of 1 GiB each out of a megabyte of zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("0", bytes(1024**2))
        first = package.infolist()[0]
        for number in range(1, 10):
            again = zipfile.ZipInfo(str(number))
            again.compress_type, again.CRC, again.header_offset = first.compress_type, first.CRC, first.header_offset
            again.compress_size, again.file_size = first.compress_size, 1024**3
            package.filelist.append(again)
            package.NameToInfo[again.filename] = again
    return file.getvalue()


LINK = "'weights' is a link or a device"

HOSTILE = {
    "a bomb": (declared(9 * 1024**3), "unpacks to more than 8589934592 bytes"),
    "a zip bomb": (overlapping(), "unpacks to more than 8589934592 bytes"),
    "an escape": (packed(member("../../escaped")), "'../../escaped' points outside of it"),
    "an absolute path": (packed(member("/escaped")), "'/escaped' points outside of it"),
    "a symlink": (packed(member("weights", kind=tarfile.SYMTYPE, link="/etc/passwd")), LINK),
    "a hard link": (packed(member("weights", kind=tarfile.LNKTYPE, link="model.onnx")), LINK),
    "a device": (packed(member("weights", kind=tarfile.BLKTYPE)), LINK),
    "a pipe": (packed(member("weights", kind=tarfile.FIFOTYPE)), LINK),
    "cut off": (packed(member("weights", size=200_000))[:-200], "the archive is refused"),
    "no archive": (b"\x7fELF and so on", "neither a whole tar (plain, gzip, bzip2, xz) nor a zip"),
}


class Registering:
    """What a worker does with what lies at `URI`."""

    def __init__(self, s3: S3Server, directory: Path, **settings: object) -> None:
        self.storage = ObjectStorage(s3.settings(**settings))
        self.directory = directory
        self.cache = directory / "cache"
        self._inspector = SubprocessInspector(ArtifactCache(self.cache, self.storage), max_memory_bytes=4 * 1024**3)

    async def run(self, content: bytes, *, expected: str | None = None) -> str:
        """The sha256 of what could be registered. Raises ValidationFailed."""
        (self.directory / "object").write_bytes(content)
        self.storage.upload(self.directory / "object", URI)
        found = await self._inspector.inspect(URI, framework=Framework.ONNX, expected_sha256=expected)
        return found.artifact.sha256

    def left(self) -> list[Path]:
        return [each for each in self.cache.iterdir() if each.is_dir()]

    def object_is(self, content: bytes) -> bool:
        self.storage.download(URI, self.directory / "down")
        return (self.directory / "down").read_bytes() == content


def good(directory: Path) -> bytes:
    save_identity(directory, TensorProto.FLOAT, ["n", 3])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(directory / "model.onnx", "model.onnx")
    return file.getvalue()


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_archive_is_refused_and_leaves_nothing(shared_s3: S3Server, tmp_path: Path, kind: str) -> None:
    content, why = HOSTILE[kind]
    registering = Registering(shared_s3, tmp_path)
    with pytest.raises(ValidationFailed) as refused:
        await registering.run(content)
    assert [problem.field for problem in refused.value.details] == ["artifactPath"]
    assert why in refused.value.message
    assert registering.left() == []
    assert registering.object_is(content), "what was uploaded stays, to be looked at"
    assert not Path("/escaped").exists()
    assert not list(tmp_path.rglob("escaped"))


async def test_another_content_than_was_promised_is_refused_and_the_promised_one_is_taken(
    shared_s3: S3Server, tmp_path: Path
) -> None:
    content = good(tmp_path)
    expected = hashlib.sha256(content).hexdigest()
    registering = Registering(shared_s3, tmp_path)
    with pytest.raises(ValidationFailed, match=f"not {expected}") as refused:
        await registering.run(content + b"\0", expected=expected)
    assert [problem.field for problem in refused.value.details] == ["checksum"]
    assert registering.left() == []
    assert await registering.run(content, expected=expected) == expected


async def test_what_is_too_large_is_refused_and_never_fetched(shared_s3: S3Server, tmp_path: Path) -> None:
    content = good(tmp_path)
    registering = Registering(shared_s3, tmp_path, max_artifact_bytes=len(content) - 1)
    with pytest.raises(ValidationFailed, match=rf"{URI} is larger than {len(content) - 1} bytes") as refused:
        await registering.run(content)
    assert [problem.field for problem in refused.value.details] == ["artifactPath"]
    assert registering.left() == []
