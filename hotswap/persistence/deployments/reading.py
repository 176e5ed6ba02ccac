"""Deployments, as people read them."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Row as Found
from sqlalchemy import Select, select

from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import ANY_DEPLOYMENT, Deployment, StepVerdict, WantedDeployments
from hotswap.domain.errors import DeploymentNotFound
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.queueing import QueuePosition
from hotswap.domain.verdict import Verdict
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.analysis.backtests import backtest_of
from hotswap.persistence.deployments.places import places
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import narrowed, page
from hotswap.persistence.registry.reading import names
from hotswap.persistence.registry.validations import report_of
from hotswap.persistence.tables import ENDED, AnalysisResult, Model, ModelVersion
from hotswap.persistence.tables import Deployment as Row

Read = TypeVar("Read")

logger = logging.getLogger(__name__)

DEPLOYMENTS_BY = (Row.started_at, Row.deployment_id)


class PostgresDeploymentReader:
    """Implements `hotswap.ports.DeploymentReader`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def deployment(self, deployment_id: str) -> Deployment:
        """Read one. Raises DeploymentNotFound."""
        async with self._sessions() as session:
            found = (await session.execute(_joined().where(Row.deployment_id == deployment_id))).first()
            if found is None:
                raise DeploymentNotFound(f"there is no deployment {deployment_id}")
            verdicts = await session.scalars(
                select(AnalysisResult)
                .where(AnalysisResult.deployment_id == deployment_id)
                .order_by(AnalysisResult.step, AnalysisResult.begun_at)
            )
            read = partial(msgspec.convert, type=Verdict)
            analysis = tuple(
                StepVerdict(row.step, verdict, row.judged_at)
                for row in verdicts
                if (verdict := _readable(read, row.verdict, deployment_id)) is not None
            )
            place = (await places(session, [found[0]])).get(deployment_id)
        return _deployment(found, analysis=analysis, place=place)

    async def deployments(
        self, wanted: WantedDeployments = ANY_DEPLOYMENT, window: Window = FIRST
    ) -> Listing[Deployment]:
        """List them, the newest first, without their verdicts."""
        found = narrowed(
            _joined(),
            (ModelVersion.version, wanted.version),
            (Row.environment, wanted.environment),
            (Row.kind, wanted.kind),
            (Row.initiated_by, wanted.initiated_by),
        )
        if wanted.model is not None:
            found = found.where(names(wanted.model))
        if wanted.statuses:
            found = found.where(Row.status.in_(wanted.statuses))
        if wanted.since is not None:
            found = found.where(Row.started_at >= wanted.since)
        if wanted.until is not None:
            found = found.where(Row.started_at < wanted.until)
        async with self._sessions() as session:
            rows = await page(session, found, DEPLOYMENTS_BY, window)
            waiting = await places(session, [row[0] for row in rows.items])
        items = tuple(_deployment(row, place=waiting.get(row[0].deployment_id)) for row in rows.items)
        return Listing(items, rows.total, rows.next)

    async def running_deployment(self, environment: Environment, model: str) -> Deployment | None:
        """Return the one under way, if there is one: the newest that has not ended."""
        wanted = _joined().where(names(model), Row.environment == environment, Row.status.not_in(ENDED))
        # A row that no workflow has opened yet is newer than the one that runs, or waits behind it.
        opened_first = wanted.order_by(Row.run_id.is_(None), Row.started_at.desc()).limit(1)
        async with self._sessions() as session:
            row = (await session.execute(opened_first)).first()
        return None if row is None else _deployment(row)

    async def asked_under(self, initiated_by: str, idempotency_key: str) -> Deployment | None:
        """Return what this caller asked for under this key, if there is such a deployment."""
        wanted = select(Row.deployment_id).where(
            Row.initiated_by == initiated_by, Row.idempotency_key == idempotency_key
        )
        async with self._sessions() as session:
            known = await session.scalar(wanted)
        return None if known is None else await self.deployment(known)


def _joined() -> Select[Row, str, str, str | None]:
    previous = (
        select(ModelVersion.version)
        .where(ModelVersion.version_id == Row.previous_version_id)
        .correlate(Row)
        .scalar_subquery()
    )
    return (
        select(Row, Model.name.label("model"), ModelVersion.version.label("version"), previous.label("previous"))
        .join(Model, Model.model_id == Row.model_id)
        .join(ModelVersion, ModelVersion.version_id == Row.version_id)
    )


def _readable(read: Callable[[Any], Read], stored: Any, deployment_id: str) -> Read | None:
    """Read a stored report, None where another release wrote it in another form: it must not keep an abort away."""
    if stored is None:
        return None
    try:
        return read(stored)
    except msgspec.ValidationError as error:
        logger.warning("a report can't be read", extra={"deployment": deployment_id, "error": str(error)})
        return None


def _deployment(
    found: Found[*tuple[Any, ...]], *, analysis: tuple[StepVerdict, ...] = (), place: QueuePosition | None = None
) -> Deployment:
    row: Row = found[0]
    return Deployment(
        deployment_id=row.deployment_id,
        model_id=row.model_id,
        model=found.model,
        version=found.version,
        previous_version=found.previous,
        kind=row.kind,
        strategy=row.strategy,
        environment=row.environment,
        strategy_config=row.strategy_config,
        resources=msgspec.convert(row.resources, ReplicaResources),
        status=row.status,
        reason=row.reason,
        message=row.message,
        progress_percentage=row.progress_percentage,
        verified_weight=row.verified_weight,
        verified_at=row.verified_at,
        validation=_readable(report_of, row.validation, row.deployment_id),
        backtest=_readable(backtest_of, row.backtest, row.deployment_id),
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        idempotency_key=row.idempotency_key,
        initiated_by=row.initiated_by,
        started_at=row.started_at,
        completed_at=row.completed_at,
        is_rolled_back=row.is_rolled_back,
        start_at=row.start_at,
        accept_contract_change=row.accept_contract_change,
        emergency=row.emergency,
        queued_request=row.queued_request,
        analysis=analysis,
        place=place,
    )
