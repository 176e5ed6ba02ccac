"""The node's cache: an artifact is there whole or not at all, and a fetch that is killed leaves nothing for ever."""

import hashlib
import io
import multiprocessing
import os
import signal
import tarfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from hotswap.domain.application import ArtifactRef
from hotswap.domain.errors import ValidationFailed
from hotswap.settings import StorageSettings
from hotswap.storage.objects import ObjectStorage
from serving.artifacts import ArtifactCache
from tests.fixtures.patience import patient
from tests.fixtures.s3 import S3Server

URI = "s3://ml-models/fraud.tar.gz"


def archive(content: bytes = b"a model") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("folder/model.onnx")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def stored(s3: S3Server, tmp_path: Path) -> ArtifactRef:
    data = archive()
    (tmp_path / "archive").write_bytes(data)
    ObjectStorage(s3.settings()).upload(tmp_path / "archive", URI)
    return ArtifactRef(URI, hashlib.sha256(data).hexdigest(), len(data))


class Stalled(ObjectStorage):
    """A line on which the download never ends."""

    def __init__(self, settings: StorageSettings, arrived: Event) -> None:
        super().__init__(settings)
        self._arrived = arrived

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        super().download(uri, path)
        self._arrived.set()
        time.sleep(600)
        raise AssertionError("the test forgot to kill it")


def fetch(directory: Path, settings: StorageSettings, artifact: ArtifactRef, arrived: Event) -> None:
    ArtifactCache(directory, Stalled(settings, arrived)).fetch(artifact)


def add(directory: Path, settings: StorageSettings, artifact: ArtifactRef, arrived: Event) -> None:
    ArtifactCache(directory, Stalled(settings, arrived)).add(artifact.uri, expected_sha256=None)


def directories(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.is_dir()]


@pytest.mark.parametrize("way", [fetch, add])
def test_what_a_killed_fetch_leaves_is_swept_by_the_next_and_what_a_live_one_needs_is_not(
    s3: S3Server, stored: ArtifactRef, tmp_path: Path, way: Callable[..., None]
) -> None:
    cache, spawn = tmp_path / "cache", multiprocessing.get_context("spawn")
    arrived = [spawn.Event(), spawn.Event()]
    # The live one fetches something else: the lock on one artifact is held by one alone.
    killed, live = (
        spawn.Process(target=target, args=(cache, s3.settings(), stored, event), daemon=True)
        for target, event in zip((way, add), arrived, strict=True)
    )
    for process, event in ((killed, arrived[0]), (live, arrived[1])):
        process.start()
        assert event.wait(patient(30))
    assert len(directories(cache)) == 2
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    place = ArtifactCache(cache, ObjectStorage(s3.settings())).fetch(stored)
    assert (place / "folder" / "model.onnx").read_bytes() == b"a model"
    assert len(directories(cache)) == 2, "the artifact, and the scratch of the one that lives"
    os.kill(live.pid or 0, signal.SIGKILL)
    live.join()
    ArtifactCache(cache, ObjectStorage(s3.settings())).add(stored.uri, expected_sha256=None)
    assert directories(cache) == [stored.sha256]


def test_a_fetch_that_fails_leaves_nothing(s3: S3Server, stored: ArtifactRef, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", ObjectStorage(s3.settings()))
    with pytest.raises(ValidationFailed, match="checksum"):
        cache.fetch(ArtifactRef(URI, "0" * 64, 1))
    assert directories(tmp_path / "cache") == []


def test_an_artifact_is_on_the_disk_before_it_gets_its_name(
    s3: S3Server, stored: ArtifactRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a name without its content would be taken for a whole artifact for ever."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        done.append(f"rename {self.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    ArtifactCache(tmp_path / "cache", ObjectStorage(s3.settings())).fetch(stored)
    named = done.index("rename unpacked")
    assert {"sync model.onnx", "sync folder", "sync unpacked"} <= set(done[:named])
    assert done[named + 1 :] == ["sync cache"]
