"""Garbage collection: what lies in the bucket and no version refers to, told first, and removed when asked to."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.context import Admin, Parts, With
from api.routing import GuardedRoute
from api.schemas import CollectGarbage
from hotswap.storage import StoredObject
from hotswap.views import GarbageItemView, GarbageView

MOST = 1_000
"""Of one call: so many are removed within a client's patience."""

router = APIRouter(prefix="/api/v1/artifacts", tags=["artifacts"], route_class=GuardedRoute)


@router.post("/gc")
async def collect_garbage(caller: Admin, parts: With, body: CollectGarbage | None = None) -> GarbageView:
    """What no version refers to and is older than the grace time; with `apply` it is removed, else only told."""
    said = body or CollectGarbage()
    before = datetime.now(UTC) - parts.settings.storage.garbage_grace
    objects, uploads = await parts.storage_calls.run(_old, parts, said.prefix, before)
    left = await parts.garbage.unreferenced({each.uri for each in objects})
    garbage = [each for each in objects if each.uri in left]
    chosen = garbage[:MOST]
    if said.apply:
        chosen = await _remove(parts, chosen, by=caller.subject)
        await _abort(parts, uploads, by=caller.subject)
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


def _old(parts: Parts, prefix: str, before: datetime) -> tuple[list[StoredObject], list[tuple[str, str, datetime]]]:
    objects = sorted(parts.storage.objects(prefix, before=before), key=lambda each: each.uri)
    return objects, list(parts.multipart.abandoned(prefix, before=before))


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
