"""What garbage collection takes: nothing that a version refers to, nothing young, and so much of one call."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from hotswap.domain.artifacts import AbandonedUpload, StoredObject
from hotswap.registry import garbage
from hotswap.registry.garbage import GarbageCollector
from hotswap.settings import StorageSettings
from tests.unit.registry.s3 import FakeArtifactStorage, FakeUploadStorage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SETTINGS = StorageSettings.model_validate(
    {"endpoint": "s3:9000", "access_key": "k", "secret_key": "s", "garbage_grace": "P1D"}
)
OLD = NOW - SETTINGS.garbage_grace - timedelta(seconds=1)


@dataclass
class FakeReferences:
    """`referred` are paths of versions; `referred_late` become so before they are condemned."""

    referred: set[str] = field(default_factory=set)
    referred_late: set[str] = field(default_factory=set)
    condemned: set[str] = field(default_factory=set)
    forgotten: list[str] = field(default_factory=list)
    is_held: bool = False

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        self.is_held = True
        yield
        self.is_held = False

    async def unreferenced(self, artifact_paths: Collection[str]) -> set[str]:
        assert self.is_held
        return set(artifact_paths) - self.referred

    async def condemn(self, artifact_paths: Collection[str], *, by: str) -> set[str]:
        assert self.is_held
        self.condemned = set(artifact_paths) - self.referred - self.referred_late
        return self.condemned

    async def forget_upload(self, artifact_path: str, *, by: str) -> None:
        self.forgotten.append(artifact_path)


@dataclass
class Bucket:
    """The collector, over fakes."""

    objects: FakeArtifactStorage = field(default_factory=FakeArtifactStorage)
    references: FakeReferences = field(default_factory=FakeReferences)

    def __post_init__(self) -> None:
        self.uploads = FakeUploadStorage(self.objects)
        self.collector = GarbageCollector(SETTINGS, self.references, self.objects, self.uploads, lambda: NOW)

    def holds(self, *batches: str) -> None:
        self.objects.batches = [[StoredObject(name, 1, OLD) for name in batch] for batch in batches]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(garbage, "MOST", 2)
    return Bucket()


async def test_garbage_is_only_told_unless_it_is_to_be_removed(bucket: Bucket) -> None:
    bucket.holds("ab")
    bucket.references.referred = {"a"}
    bucket.uploads.left = [AbandonedUpload("u", "s3-1", OLD)]
    seen = await bucket.collector.collect("", apply=False, by="root")
    assert [(each.artifact_path, each.is_upload) for each in seen.items] == [("b", False), ("u", True)]
    assert (bucket.objects.removed, bucket.uploads.aborted, bucket.references.forgotten) == ([], [], [])
    assert await bucket.collector.collect("", apply=True, by="root") == seen
    assert (bucket.objects.removed, bucket.uploads.aborted, bucket.references.forgotten) == (["b"], ["s3-1"], ["u"])


async def test_what_is_referred_to_meanwhile_stays(bucket: Bucket) -> None:
    bucket.holds("ab")
    bucket.references.referred_late = {"a"}
    seen = await bucket.collector.collect("", apply=True, by="root")
    assert ([each.artifact_path for each in seen.items], bucket.objects.removed) == (["b"], ["b"])


async def test_what_is_younger_than_the_grace_time_stays(bucket: Bucket) -> None:
    young = NOW - SETTINGS.garbage_grace
    bucket.objects.batches = [[StoredObject("a", 1, young)]]
    bucket.uploads.left = [AbandonedUpload("u", "s3-1", young)]
    assert (await bucket.collector.collect("", apply=True, by="root")).items == ()


@pytest.mark.parametrize(
    ("batches", "taken", "has_more"),
    [(["ab"], 1, False), (["a", "b"], 2, False), (["abc", "d"], 1, True), (["ab", "c", "d"], 2, True)],
)
async def test_the_listing_is_read_no_further_than_one_call_goes(
    bucket: Bucket, batches: list[str], taken: int, has_more: bool
) -> None:
    bucket.holds(*batches)
    seen = await bucket.collector.collect("", apply=True, by="root")
    assert ([each.artifact_path for each in seen.items], seen.has_more) == (["a", "b"], has_more)
    assert bucket.objects.taken == taken
