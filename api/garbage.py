"""Garbage collection: it lists objects in the bucket that no version refers to, and removes them if asked to."""

from dataclasses import asdict

from fastapi import APIRouter

from api.context import Admin, With
from api.routing import GuardedRoute
from hotswap.schemas.requests import CollectGarbage
from hotswap.schemas.responses import GarbageItemView, GarbageView

router = APIRouter(prefix="/api/v1/artifacts", tags=["artifacts"], route_class=GuardedRoute)


@router.post("/gc")
async def collect_garbage(caller: Admin, parts: With, body: CollectGarbage | None = None) -> GarbageView:
    """List artifacts that no version refers to and that are older than the grace time; with `apply`, remove them.

    A call removes at most 1,000 artifacts, and only one call runs at a time.
    """
    wanted = body or CollectGarbage()
    garbage = await parts.garbage.collect(wanted.prefix, apply=wanted.apply, by=caller.subject)
    return GarbageView(
        applied=wanted.apply,
        prefix=wanted.prefix,
        items=[GarbageItemView.model_validate(asdict(each)) for each in garbage.items],
        total_bytes=sum(each.size_bytes for each in garbage.items),
        more=garbage.has_more,
    )
