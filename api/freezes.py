"""Freezes: times in which no rollout starts in an environment. Those that have started, and rollbacks, go on."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.context import Engineer, Reader, With
from api.paging import Instant, Paged, Plain
from api.parameters import FreezeId
from api.routing import GuardedRoute
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.queueing import Freeze
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.platform.paging import part
from hotswap.schemas.requests import CreateFreeze
from hotswap.schemas.responses import FreezeView, Page

router = APIRouter(prefix="/api/v1/freezes", tags=["freezes"], route_class=GuardedRoute)

LONGEST = timedelta(days=366)


@router.post("", status_code=201)
async def create_freeze(caller: Engineer, parts: With, body: CreateFreeze, response: Response) -> FreezeView:
    """Freeze an environment, from now or from `startsAt` on."""
    now = datetime.now(UTC)
    begin = body.starts_at or now
    until = body.until if body.until is not None else begin + (body.duration or timedelta())
    if until <= max(begin, now):
        raise ValidationFailed.of("until", "must be later than the begin of the freeze, and than now")
    if until - now > LONGEST:
        raise ValidationFailed.of("until", f"is more than {LONGEST.days} days away")
    freeze = await parts.freezes.add(
        body.environment, reason=body.reason, starts_at=body.starts_at, until=until, by=caller.subject
    )
    response.headers["Location"] = f"/api/v1/freezes/{freeze.freeze_id}"
    return _view(freeze)


@router.get("")
async def list_freezes(
    _: Reader,
    parts: With,
    paging: Paged,
    environment: Annotated[Environment | None, Query()] = None,
) -> Page[FreezeView]:
    """Return the freezes that are in force or planned, in the order in which they begin."""
    window = paging.window("freezes", Instant, Plain)
    all_of_them = await parts.freezes.all(environment=environment)
    found = part(all_of_them, lambda each: (each.starts_at, each.freeze_id), window, falling=False)
    return paging.page("freezes", [_view(freeze) for freeze in found.items], found)


@router.get("/{freeze_id}")
async def get_freeze(_: Reader, parts: With, freeze_id: FreezeId) -> FreezeView:
    """Return one freeze, even after its end."""
    return _view(await parts.freezes.get(freeze_id))


@router.delete("/{freeze_id}")
async def lift_freeze(caller: Engineer, parts: With, freeze_id: FreezeId) -> FreezeView:
    """End a freeze now. Deployments that waited for its end start."""
    return _view(await parts.freezes.lift(freeze_id, by=caller.subject))


def _view(freeze: Freeze) -> FreezeView:
    return FreezeView(
        freeze_id=freeze.freeze_id,
        environment=freeze.environment,
        reason=freeze.reason,
        starts_at=freeze.starts_at,
        until=freeze.until,
        created_by=freeze.created_by,
        is_in_force=freeze.covers(datetime.now(UTC)),
    )
