"""Garbage collection: artifacts that lie in the bucket and that no version refers to.

It reports them, and removes them where it is asked to. One call takes at most `MOST` of them, so that it ends within a
client's patience, and one call runs at a time. An artifact is removed only after the database has noted that nothing
can refer to it any more.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from hotswap.domain.artifacts import AbandonedUpload, StoredObject
from hotswap.ports import ArtifactReferences, ArtifactStorage, UploadStorage
from hotswap.settings import StorageSettings

MOST = 1_000


@dataclass(frozen=True, slots=True)
class GarbageItem:
    """A stored object, or an upload that was begun and left, which has no size yet."""

    artifact_path: str
    size_bytes: int
    modified_at: datetime
    is_upload: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """What one call found or removed; `has_more` says that there are more objects than one call takes."""

    items: tuple[GarbageItem, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class GarbageCollector:
    """Finds and removes garbage. `clock` returns the time with its zone."""

    settings: StorageSettings
    references: ArtifactReferences
    objects: ArtifactStorage
    uploads: UploadStorage
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def collect(self, prefix: str, *, apply: bool, by: str) -> Garbage:
        """Find the garbage below `prefix` that is older than the grace time, and remove it with `apply`.

        Raises Conflict while another call collects, and Unavailable.
        """
        async with self.references.alone():
            before = self.clock() - self.settings.garbage_grace
            abandoned = await self.uploads.abandoned(prefix, before=before)
            found = await self._unreferenced(prefix, before)
            chosen = found[:MOST]
            if apply:
                chosen = await self._remove(chosen, by=by)
                await self._abort(abandoned, by=by)
            objects = (GarbageItem(each.uri, each.size_bytes, each.modified_at) for each in chosen)
            uploads = (GarbageItem(each.artifact_path, 0, each.begun_at, is_upload=True) for each in abandoned)
            return Garbage((*objects, *uploads), has_more=len(found) > MOST)

    async def _unreferenced(self, prefix: str, before: datetime) -> list[StoredObject]:
        """List them in the order of S3, and no further than it takes to know that there are more than `MOST`."""
        found: list[StoredObject] = []
        async with aclosing(self.objects.listing(prefix, before=before)) as listing:
            async for batch in listing:
                left = await self.references.unreferenced({each.uri for each in batch})
                found += [each for each in batch if each.uri in left]
                if len(found) > MOST:
                    break
        return found

    async def _remove(self, garbage: list[StoredObject], *, by: str) -> list[StoredObject]:
        condemned = await self.references.condemn({each.uri for each in garbage}, by=by)
        going = [each for each in garbage if each.uri in condemned]
        for each in going:
            await self.objects.remove(each.uri)
        return going

    async def _abort(self, uploads: list[AbandonedUpload], *, by: str) -> None:
        for each in uploads:
            await self.uploads.abort(each.artifact_path, each.s3_upload_id)
            await self.references.forget_upload(each.artifact_path, by=by)
