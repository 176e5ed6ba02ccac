"""Which artifacts leave a node's cache, and that none of them does while it is used."""

import hashlib
import io
import logging
import multiprocessing
import os
import tarfile
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import cast

import pytest

from hotswap.domain.application import ArtifactRef
from hotswap.storage.objects import ObjectStorage
from serving import artifact_use
from serving.artifact_use import claimed, evict
from serving.artifacts import ArtifactCache, unpack
from tests.fixtures.patience import patient

KIB = 1024


def archive(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        root = tarfile.TarInfo(".")
        root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o755, 1_000_000
        tar.addfile(root)
        member = tarfile.TarInfo("model")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Stored:
    """S3 with the models that are named by a letter."""

    def __init__(self) -> None:
        self.downloads = 0

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        self.downloads += 1
        data = archive(uri[-1].encode() * 64 * KIB)
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest(), len(data)


def artifact(letter: str) -> ArtifactRef:
    data = archive(letter.encode() * 64 * KIB)
    return ArtifactRef(f"s3://ml-models/{letter}", hashlib.sha256(data).hexdigest(), len(data))


def cache_of(directory: Path, *, max_bytes: int | None = None) -> ArtifactCache:
    return ArtifactCache(directory, cast("ObjectStorage", Stored()), max_bytes=max_bytes)


def letters(directory: Path) -> str:
    """The letters of the models that are there, sorted."""
    return "".join(sorted(path.read_text()[0] for path in directory.glob("*/model")))


def age(directory: Path, letter: str, *, hours: float) -> None:
    used_at = time.time() - 3_600 * hours
    os.utime(directory / artifact(letter).sha256, (used_at, used_at))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache with `a`, `b`, `c` and `d`, of which `a` was used least recently."""
    cache = cache_of(tmp_path)
    for hours, letter in zip((4, 3, 2, 1), "abcd", strict=True):
        cache.fetch(artifact(letter))
        age(tmp_path, letter, hours=hours)
    return tmp_path


def test_the_least_recently_used_leave_until_the_rest_fits(filled: Path) -> None:
    evict(filled, max_bytes=300 * KIB)
    assert letters(filled) == "abcd"
    evict(filled, max_bytes=140 * KIB)
    assert letters(filled) == "cd"
    assert not list(filled.glob("tmp*"))


def test_an_artifact_that_is_asked_for_is_used(filled: Path) -> None:
    cache_of(filled).fetch(artifact("a"))
    cache_of(filled).add("s3://ml-models/b", expected_sha256=None)
    evict(filled, max_bytes=140 * KIB)
    assert letters(filled) == "ab"


def test_a_new_artifact_makes_room_for_itself_and_an_old_one_is_fetched_again(filled: Path) -> None:
    cache = cache_of(filled, max_bytes=200 * KIB)
    cache.fetch(artifact("e"))
    assert letters(filled) == "cde", "however old its archive says that it is"
    cache.add("s3://ml-models/f", expected_sha256=None)
    assert letters(filled) == "def"
    place = cache.fetch(artifact("a"))
    assert (place / "model").read_text()[0] == "a"


def test_what_was_used_a_moment_ago_stays_however_large_it_is(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    age(filled, "d", hours=0.1)
    with caplog.at_level(logging.WARNING):
        evict(filled, max_bytes=0)
    assert letters(filled) == "d"
    assert [each.getMessage() for each in caplog.records] == ["the artifacts in use are larger than the cache may be"]


def serve(directory: Path, letter: str, ready: Event, end: Event) -> None:
    """A replica."""
    cache_of(directory).hold(artifact(letter))
    ready.set()
    end.wait()


def test_what_a_process_serves_stays_until_it_ends_and_counts_as_used(filled: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, end = spawn.Event(), spawn.Event()
    replica = spawn.Process(target=serve, args=(filled, "a", ready, end), daemon=True)
    replica.start()
    assert ready.wait(patient(30))
    age(filled, "a", hours=5)
    evict(filled, max_bytes=140 * KIB)
    assert letters(filled) == "ad"
    replica.kill()
    replica.join()
    evict(filled, max_bytes=0)
    assert letters(filled) == "a", "its replica may be about to start again, while S3 is away"
    age(filled, "a", hours=1)
    evict(filled, max_bytes=0)
    assert letters(filled) == ""


def test_what_is_no_artifact_is_left_alone(filled: Path) -> None:
    (filled / "notes").mkdir()
    before = {path.name for path in filled.glob("*.lock")}
    evict(filled, max_bytes=0)
    assert {path.name for path in filled.iterdir()} == {"notes", *before}
    assert claimed(filled / "0") is None


def test_nothing_is_taken_from_under_those_who_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_use, "GRACE_SECONDS", -1.0)
    cache, ended, evictions = cache_of(tmp_path), threading.Event(), 0

    def evict_always() -> None:
        nonlocal evictions
        while not ended.is_set():
            for path in tmp_path.glob("[0-9a-f]*"):
                evictions += path.is_dir()
            evict(tmp_path, max_bytes=0)

    thread = threading.Thread(target=evict_always)
    thread.start()
    try:
        for _ in range(100):
            lock = cache._claim(artifact("a"), unpack)
            assert (tmp_path / artifact("a").sha256 / "model").read_text() == "a" * 64 * KIB
            os.close(lock)
    finally:
        ended.set()
        thread.join()
    assert evictions
