"""Routes for the monitoring of active versions, and for its alerts."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from api.context import Engineer, Reader, With
from api.paging import Instant, Paged, Plain
from api.parameters import ModelId, QueryWord
from api.routing import GuardedRoute
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.monitoring import MonitoringConfig
from hotswap.schemas.responses import AlertView, MonitoringView, Page

router = APIRouter(prefix="/api/v1", tags=["monitoring"], route_class=GuardedRoute)


@router.get("/models/{model}/monitoring")
async def get_monitoring(_: Reader, parts: With, model: ModelId) -> MonitoringView:
    """Return what is monitored of a model while it serves, and what an alert leads to."""
    found = (await parts.registry.model(model)).model
    return _view(found.name, MonitoringConfig.model_validate(found.monitoring))


@router.put("/models/{model}/monitoring")
async def set_monitoring(caller: Engineer, parts: With, model: ModelId, body: MonitoringConfig) -> MonitoringView:
    """Replace the policy; a field that is left out gets its default.

    Only engineers may set it, since it may roll back Production.
    """
    return _view(await parts.monitoring.set(model, body, by=caller.subject), body)


@router.get("/alerts")
async def list_alerts(
    _: Reader,
    parts: With,
    paging: Paged,
    model: Annotated[QueryWord, Query(description="only alerts of this model, by its name or id")] = None,
    environment: Annotated[Environment | None, Query()] = None,
    is_open: Annotated[
        bool | None, Query(alias="open", description="true: only open alerts, false: only resolved ones")
    ] = None,
) -> Page[AlertView]:
    """Return the alerts, newest first."""
    window = paging.window("alerts", Instant, Plain)
    found = await parts.alerts.page(model=model, environment=environment, is_open=is_open, window=window)
    return paging.page("alerts", [AlertView(**asdict(alert)) for alert in found.items], found)


def _view(model: str, config: MonitoringConfig) -> MonitoringView:
    return MonitoringView(model=model, **config.model_dump())
