"""Garbage collection: what lies in the bucket and no version refers to, told first, and removed when asked to."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from fastapi import APIRouter

from api.context import Admin, Parts, With
from api.routing import GuardedRoute
from hotswap.schemas.requests import CollectGarbage
from hotswap.schemas.responses import GarbageItemView, GarbageView
from hotswap.storage.objects import StoredObject

MOST = 1_000
"""Of one call: so many are removed within a client's patience."""
BATCH = 1_000
"""Of the listing: so many objects are in memory at a time, however many there are."""

router = APIRouter(prefix="/api/v1/artifacts", tags=["artifacts"], route_class=GuardedRoute)


@router.post("/gc")
async def collect_garbage(caller: Admin, parts: With, body: CollectGarbage | None = None) -> GarbageView:
    """List artifacts that no version refers to and that are older than the grace time; with `apply`, remove them.

    A call removes at most 1,000 artifacts, and only one call runs at a time.
    """
    async with parts.garbage.alone():
        return await _collect(parts, body or CollectGarbage(), by=caller.subject)


async def _collect(parts: Parts, said: CollectGarbage, *, by: str) -> GarbageView:
    before = datetime.now(UTC) - parts.settings.storage.garbage_grace
    uploads = await parts.storage_calls.run(_abandoned, parts, said.prefix, before)
    garbage = await _garbage(parts, said.prefix, before)
    chosen = garbage[:MOST]
    if said.apply:
        chosen = await _remove(parts, chosen, by=by)
        await _abort(parts, uploads, by=by)
    items = [
        GarbageItemView(artifact_path=each.uri, size_bytes=each.size_bytes, modified_at=each.modified_at)
        for each in chosen
    ]
    items += [
        GarbageItemView(artifact_path=_uri(parts, key), size_bytes=0, modified_at=begun, is_upload=True)
        for key, _, begun in uploads
    ]
    return GarbageView(
        applied=said.apply,
        prefix=said.prefix,
        items=items,
        total_bytes=sum(each.size_bytes for each in items),
        more=len(garbage) > MOST,
    )


async def _garbage(parts: Parts, prefix: str, before: datetime) -> list[StoredObject]:
    """In the listing's order, and no further than it takes to know that there is more than one call removes."""
    listing, found = parts.storage.objects(prefix, before=before), list[StoredObject]()
    while len(found) <= MOST and (some := await parts.storage_calls.run(_next, listing)):
        left = await parts.garbage.unreferenced({each.uri for each in some})
        found += [each for each in some if each.uri in left]
    return found


def _next(listing: Iterator[StoredObject]) -> list[StoredObject]:
    return list(islice(listing, BATCH))


def _abandoned(parts: Parts, prefix: str, before: datetime) -> list[tuple[str, str, datetime]]:
    return list(parts.multipart.abandoned(prefix, before=before))


async def _remove(parts: Parts, garbage: list[StoredObject], *, by: str) -> list[StoredObject]:
    condemned = await parts.garbage.condemn({each.uri for each in garbage}, by=by)
    going = [each for each in garbage if each.uri in condemned]
    for each in going:
        await parts.storage_calls.run(parts.storage.remove, each.uri)
    return going


async def _abort(parts: Parts, uploads: list[tuple[str, str, datetime]], *, by: str) -> None:
    for key, upload_id, _ in uploads:
        await parts.storage_calls.run(parts.multipart.abort, key, upload_id)
        await parts.garbage.forget_upload(_uri(parts, key), by=by)


def _uri(parts: Parts, key: str) -> str:
    return f"s3://{parts.settings.storage.bucket}/{key}"
