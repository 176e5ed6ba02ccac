"""HotSwap's state as numbers, for who draws and alerts: read anew each time, so they are right after any restart.

Names and labels are a contract: dashboards and alert rules of other people stand on them (docs/monitoring-setup.md).
What happens to single requests is counted where it happens, by the proxies.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Select, extract, func, literal, select
from sqlalchemy.dialects.postgresql import distinct_on

from hotswap.domain.proxies import Sightings
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.inference.records import STREAM
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.recorder import DEAD
from hotswap.persistence.tables import (
    ENDED,
    ActiveVersion,
    AlertRow,
    AsyncInference,
    Deployment,
    DesiredApplication,
    DriftReport,
    Model,
    ModelVersion,
    TrafficRoute,
)
from hotswap.traffic.bus import RedisTrafficBus, answering


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric: a value for each combination of its labels that there is. Of a `_total` it only grows."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    values: Sequence[tuple[tuple[str, ...], float]]


Query = Select[*tuple[Any, ...]]

_BY_MODEL = (Deployment.environment, Model.name, ModelVersion.version, Deployment.deployment_id)
_UNDER_WAY = Deployment.status.not_in(ENDED)


def _deployments(*columns: Any) -> Query:
    return (
        select(*columns)
        .join(Model, Model.model_id == Deployment.model_id)
        .join(ModelVersion, ModelVersion.version_id == Deployment.version_id)
    )


# Each row: name, meaning, labels, and what selects the labels' values and then the number.
_GAUGES: tuple[tuple[str, str, tuple[str, ...], Query], ...] = (
    (
        "hotswap_deployments",
        "Deployments that have not ended.",
        ("environment", "status"),
        select(Deployment.environment, Deployment.status, func.count())
        .where(_UNDER_WAY)
        .group_by(Deployment.environment, Deployment.status),
    ),
    (
        "hotswap_deployments_ended_total",
        "Deployments that have ended since the beginning.",
        ("environment", "status", "reason"),
        select(Deployment.environment, Deployment.status, Deployment.reason, func.count())
        .where(Deployment.status.in_(ENDED))
        .group_by(Deployment.environment, Deployment.status, Deployment.reason),
    ),
    (
        "hotswap_deployments_last_ended_timestamp_seconds",
        "When the last one of them ended.",
        ("environment", "status", "reason"),
        select(
            Deployment.environment,
            Deployment.status,
            Deployment.reason,
            func.max(extract("epoch", Deployment.completed_at)),
        )
        .where(Deployment.status.in_(ENDED), Deployment.completed_at.is_not(None))
        .group_by(Deployment.environment, Deployment.status, Deployment.reason),
    ),
    (
        "hotswap_deployment_started_timestamp_seconds",
        "When a deployment that has not ended was asked for.",
        ("environment", "model", "version", "deployment", "status"),
        _deployments(*_BY_MODEL, Deployment.status, extract("epoch", Deployment.started_at)).where(_UNDER_WAY),
    ),
    (
        "hotswap_deployment_weight_ratio",
        "The share of its model's requests that a deployment under way has, as every proxy confirmed.",
        ("environment", "model", "version", "deployment"),
        _deployments(*_BY_MODEL, Deployment.verified_weight / float(TOTAL_WEIGHT)).where(
            _UNDER_WAY, Deployment.run_id.is_not(None)
        ),
    ),
    (
        "hotswap_async_inferences_waiting",
        "Asynchronous requests that have no answer yet.",
        ("model",),
        select(AsyncInference.model_name, func.count())
        .where(AsyncInference.due_at.is_not(None))
        .group_by(AsyncInference.model_name),
    ),
    (
        "hotswap_active_version_info",
        "What serves: always 1.",
        ("environment", "model", "version", "deployment", "application"),
        select(
            ActiveVersion.environment,
            Model.name,
            ModelVersion.version,
            ActiveVersion.deployment_id,
            ActiveVersion.application,
            literal(1),
        )
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .where(ActiveVersion.until.is_(None)),
    ),
    (
        "hotswap_application_info",
        "Whose an application is, by whose name Envoy counts: always 1.",
        ("application", "environment", "model", "version", "deployment"),
        select(
            DesiredApplication.name,
            DesiredApplication.environment,
            DesiredApplication.model,
            DesiredApplication.version,
            DesiredApplication.deployment_id,
            literal(1),
        ),
    ),
    (
        "hotswap_application_replicas",
        "Replicas that an application should have.",
        ("application",),
        select(DesiredApplication.name, DesiredApplication.replicas),
    ),
    (
        "hotswap_application_set_aside",
        "Whether an application is left out since Ray Serve refused it.",
        ("application",),
        select(DesiredApplication.name, DesiredApplication.set_aside_reason.is_not(None)),
    ),
    (
        "hotswap_route_shed_ratio",
        "The share of a model's requests that is turned away for want of replicas.",
        ("environment", "model"),
        select(TrafficRoute.environment, TrafficRoute.model, TrafficRoute.shed / float(TOTAL_WEIGHT)),
    ),
    (
        "hotswap_alerts_open",
        "Alerts of the monitor that are not over.",
        ("environment", "model", "kind"),
        select(AlertRow.environment, Model.name, AlertRow.kind, func.count())
        .join(Model, Model.model_id == AlertRow.model_id)
        .where(AlertRow.resolved_at.is_(None))
        .group_by(AlertRow.environment, Model.name, AlertRow.kind),
    ),
    (
        "hotswap_drift_distance",
        "How far the feature that is furthest is from its reference, by the newest report of what serves.",
        ("environment", "model", "version"),
        select(ActiveVersion.environment, Model.name, ModelVersion.version, DriftReport.distance)
        .ext(distinct_on(DriftReport.model_id, DriftReport.environment))
        .join(Model, Model.model_id == DriftReport.model_id)
        .join(ModelVersion, ModelVersion.version_id == DriftReport.version_id)
        .join(
            ActiveVersion,
            (ActiveVersion.version_id == DriftReport.version_id)
            & (ActiveVersion.environment == DriftReport.environment)
            & ActiveVersion.until.is_(None),
        )
        .where(DriftReport.distance.is_not(None))
        .order_by(DriftReport.model_id, DriftReport.environment, DriftReport.at.desc()),
    ),
)


class PostgresGauges:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def read(self) -> list[Gauge]:
        async with self._sessions() as session:
            found = []
            for name, meaning, labels, query in _GAUGES:
                rows = await session.execute(query)
                found.append(
                    Gauge(
                        name,
                        meaning,
                        labels,
                        [(tuple(label or "" for label in row[:-1]), float(row[-1])) for row in rows],
                    )
                )
            return found


class RedisGauges:
    def __init__(self, redis: Redis, *, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._bus = RedisTrafficBus(redis)
        self._stopwatch = stopwatch
        self._sightings = Sightings()

    async def read(self) -> list[Gauge]:
        reports = [each.report for each in await self._bus.proxies()]
        with answering():
            waiting, dead = await self._redis.xlen(STREAM), await self._dead()
        now = self._stopwatch()
        self._sightings.read(reports, now=now)
        return [
            Gauge(
                "hotswap_proxy_silent_seconds",
                "For how long this API has found a proxy's report unchanged, by its own clock.",
                ("proxy",),
                [((proxy,), seconds) for proxy, seconds in self._sightings.unchanged(now=now).items()],
            ),
            Gauge(
                "hotswap_proxy_reported_timestamp_seconds",
                "When a proxy's agent last reported, by its clock.",
                ("proxy",),
                [((each.proxy,), each.reported_at) for each in reports],
            ),
            Gauge(
                "hotswap_proxy_generation",
                "The newest traffic plan that a proxy has confirmed.",
                ("proxy",),
                [((each.proxy,), each.generation) for each in reports],
            ),
            Gauge(
                "hotswap_proxy_problem",
                "Whether something keeps a proxy from the newest plan, or from a part of it.",
                ("proxy",),
                [((each.proxy,), bool(each.problem or each.held)) for each in reports],
            ),
            Gauge(
                "hotswap_record_batches_waiting",
                "Batches of records in Redis that the recorder has not written yet.",
                (),
                [((), waiting)],
            ),
            Gauge(
                "hotswap_records_set_aside_total",
                "Records that could never be written, since the beginning.",
                (),
                [((), dead)],
            ),
        ]

    async def _dead(self) -> int:
        try:
            return int((await self._redis.xinfo_stream(DEAD))["entries-added"])
        except ResponseError:  # there never was one
            return 0
