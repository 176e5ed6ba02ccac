"""Figures of a model over a time, from roll-ups of records and outcomes, and from what proxies counted."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from api.context import Reader, With
from api.parameters import ModelId
from api.presentation import metrics_view
from api.routing import GuardedRoute
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.fields import Duration
from hotswap.schemas.responses import MetricsView

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=GuardedRoute)

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=400)
_VERSION = r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,99}$"


@router.get("/{model}/metrics")
async def get_metrics(
    _: Reader,
    parts: With,
    model: ModelId,
    window: Annotated[
        Duration, Query(ge=SHORTEST, le=LONGEST, description="how far back, as an ISO-8601 duration")
    ] = timedelta(hours=1),
    version: Annotated[
        str | None, Query(pattern=_VERSION, description="only this version; all versions if absent")
    ] = None,
    environment: Annotated[Environment, Query()] = Environment.PRODUCTION,
) -> MetricsView:
    """Return the requests, success, latency, throughput, confidence and accuracy of a model over the last `window`.

    Its drift is that of the newest report.
    """
    found = (await parts.registry.model(model)).model
    if version is not None:
        version = (await parts.registry.version(model, version)).version.version
    measured = await parts.measures.window(found.name, environment, version=version, span=window, now=datetime.now(UTC))
    drift = await parts.drift.last(found.model_id, environment)
    return metrics_view(found, environment, version, measured, drift)
