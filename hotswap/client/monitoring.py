"""Calls about active versions: metrics, drift, monitoring and its alerts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hotswap.client.calls import Call, Steps, ask, get, kind_of
from hotswap.client.models import model_path
from hotswap.client.resources import ClientResource, T, call, steps
from hotswap.schemas.monitoring import MonitoringConfig
from hotswap.schemas.responses import AlertView, DriftView, MetricsView, MonitoringView, Page


class Monitoring(ClientResource[T]):
    @call
    def get(self, model: str) -> Call[MonitoringView]:
        """Return what is monitored of a model while it serves."""
        return _get(model)

    @steps
    def change(self, model: str, changes: Mapping[str, Any]) -> Steps[MonitoringView]:
        """Change some of it, by the fields' names in JSON; the rest stays as it is."""
        policy = {**(yield from ask(_get(model))).to_json(), **changes}
        del policy["model"]
        body = MonitoringConfig.model_validate(policy).model_dump(mode="json", by_alias=True)
        return (yield from ask(Call("PUT", _path(model), kind_of(MonitoringView), body=body)))

    @call
    def metrics(
        self,
        model: str,
        *,
        window: timedelta = timedelta(hours=1),
        version: str | None = None,
        environment: str = "Production",
    ) -> Call[MetricsView]:
        """Return the figures of the model, or of one version, over the last `window`."""
        wanted = {"window": window, "version": version, "environment": environment}
        return get(MetricsView, f"{model_path(model)}/metrics", wanted)

    @call
    def drift(self, model: str, *, environment: str | None = None, now: bool = False) -> Call[DriftView]:
        """Return the newest drift report of the active version; `environment` is Production by default.

        With `now`, a report is made at once.
        """
        query = {} if environment is None else {"environment": environment}
        return Call("POST" if now else "GET", f"{model_path(model)}/drift", kind_of(DriftView), query=query)

    @call
    def alerts(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        is_open: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Call[Page[AlertView]]:
        """List alerts about active versions, newest first; `is_open` keeps only open ones, or only resolved ones."""
        query = {
            "model": model,
            "environment": environment,
            "open": is_open,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return get(Page[AlertView], "/api/v1/alerts", query)


def _get(model: str) -> Call[MonitoringView]:
    return get(MonitoringView, _path(model))


def _path(model: str) -> str:
    return f"{model_path(model)}/monitoring"
