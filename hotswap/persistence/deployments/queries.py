"""What the API asks of the database: reads for people, and the row that a deployment begins with.

Every model can be named by its id or its unique name. Rows come out as frozen dataclasses, so that nothing outside this
package holds a session.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import semver
from sqlalchemy import ColumnElement, Select, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditActions
from hotswap.domain.errors import Conflict, DeploymentNotFound, ModelNotFound, ValidationFailed, VersionNotFound
from hotswap.domain.ids import deployment_workflow_id, queue_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import (
    Environment,
    VersionStatus,
)
from hotswap.persistence.deployments.admission import admit
from hotswap.persistence.deployments.places import places
from hotswap.persistence.deployments.rows import (
    ANY_DEPLOYMENT,
    ANY_MODEL,
    DeploymentRow,
    ModelRow,
    NewDeployment,
    StepVerdict,
    VersionRow,
    WantedDeployments,
    WantedModels,
)
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import FIRST, Listing, Window, narrowed, page, part
from hotswap.persistence.registry.versions import version_ref
from hotswap.persistence.tables import (
    ENDED,
    ActiveVersion,
    AnalysisResult,
    Deployment,
    Model,
    ModelVersion,
    VersionAlias,
)

MODELS_BY = (Model.created_at, Model.model_id)
DEPLOYMENTS_BY = (Deployment.started_at, Deployment.deployment_id)

_NOT_DEPLOYABLE = (VersionStatus.DEPRECATED, VersionStatus.ARCHIVED)


class Queries:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    # --- models -------------------------------------------------------------------------------------------------------

    async def model(self, id_or_name: str) -> ModelRow:
        """Raises ModelNotFound."""
        async with self._sessions() as session:
            model = await session.scalar(select(Model).where(names(id_or_name)))
            if model is None:
                raise no_model(id_or_name)
            (row,) = await _with_versions(session, [model])
            return row

    async def models(self, wanted: WantedModels = ANY_MODEL, window: Window = FIRST) -> Listing[ModelRow]:
        """The newest first."""
        found = narrowed(
            select(Model).where(Model.is_archived.is_(wanted.is_archived)),
            (Model.framework, wanted.framework),
            (Model.type, wanted.type),
            (Model.team, wanted.team),
            (Model.owner, wanted.owner),
        )
        if wanted.tag is not None:
            found = found.where(Model.tags.contains([wanted.tag]))
        if wanted.name is not None:
            found = found.where(Model.name.contains(wanted.name, autoescape=True))
        async with self._sessions() as session:
            rows = await page(session, found, MODELS_BY, window)
            items = await _with_versions(session, [row[0] for row in rows.items])
        return Listing(tuple(items), rows.total, rows.next)

    async def versions(self, id_or_name: str) -> list[VersionRow]:
        """Newest first, by semantic version. Raises ModelNotFound."""
        found = await self.model(id_or_name)
        model = found.model
        async with self._sessions() as session:
            rows = await session.scalars(select(ModelVersion).where(ModelVersion.model_id == model.model_id))
            ordered = sorted(rows, key=lambda row: precedence(row.version), reverse=True)
        return [VersionRow(row, version_ref(model, row), found.aliases_of(row.version)) for row in ordered]

    async def listed_versions(
        self, id_or_name: str, *, statuses: Sequence[VersionStatus] = (), window: Window = FIRST
    ) -> Listing[VersionRow]:
        """A part of them. Raises ModelNotFound, and ValidationFailed for a window after what is no version."""
        try:
            after = None if window.after is None else precedence(window.after[0])
        except ValueError:
            raise ValidationFailed.of(
                "cursor", "is not one that this list gave; ask without it to begin anew"
            ) from None
        rows = [row for row in await self.versions(id_or_name) if not statuses or row.version.status in statuses]
        found = part(rows, lambda row: precedence(row.version.version), replace(window, after=after), falling=True)
        return replace(found, next=None if found.next is None else found.next[1:])

    async def version(self, id_or_name: str, version: str | None = None) -> VersionRow:
        """The version of that number, id or alias; without one the newest that may be deployed.

        Raises ModelNotFound, VersionNotFound.
        """
        rows = await self.versions(id_or_name)
        for row in rows:
            if version in {row.version.version, row.version.version_id, *row.aliases}:
                return row
            if version is None and not row.version.is_deprecated and row.version.status not in _NOT_DEPLOYABLE:
                return row
        known = ", ".join(row.version.version for row in rows) or "none"
        raise VersionNotFound(f"model {id_or_name} has no version {version or 'to deploy'}; there is {known}")

    # --- deployments --------------------------------------------------------------------------------------------------

    async def create_deployment(self, new: NewDeployment) -> DeploymentRow:
        """Insert the row; the same caller's same idempotency key answers the first one's.

        Raises ModelNotFound, VersionNotFound, Conflict when the key was used for something else, the environment is
        frozen or others are in line, and ValidationFailed for a start that is past.
        """
        known = await self.known_deployment(new)
        if known is not None:
            return _same(known, new)
        wanted = (await self.version(new.model, new.version)).ref
        deployment_id = f"dep-{secrets.token_hex(6)}"
        row = Deployment(
            deployment_id=deployment_id,
            version_id=wanted.version_id,
            model_id=wanted.model_id,
            kind=new.kind,
            strategy=new.strategy,
            environment=new.environment,
            strategy_config=new.strategy_config,
            resources=msgspec.to_builtins(new.resources),
            workflow_id=deployment_workflow_id(new.environment, wanted.model),
            idempotency_key=new.idempotency_key,
            initiated_by=new.initiated_by,
            start_at=new.start_at,
            accept_contract_change=new.accept_contract_change,
            emergency=new.emergency,
        )
        if new.queued_request is not None:
            row.workflow_id = queue_workflow_id(deployment_id)
            row.queued_request = new.queued_request(deployment_id, wanted)
        try:
            async with self._sessions.begin() as session:
                await _admit(session, new, wanted)
                session.add(row)
                session.add(
                    about_deployment(
                        deployment_id,
                        actor=new.initiated_by,
                        action=AuditActions.REQUEST.of(new.kind),
                        why=None if new.emergency is None else f"emergency: {new.emergency}",
                        after={
                            "model": wanted.model,
                            "version": wanted.version,
                            "environment": new.environment,
                            **({"acceptContractChange": True} if new.accept_contract_change else {}),
                            **({"emergency": True} if new.emergency is not None else {}),
                        },
                    )
                )
        except IntegrityError:
            # Somebody was quicker with the same key.
            known = await self.known_deployment(new)
            if known is None:
                raise
            return _same(known, new)
        return await self.deployment(deployment_id)

    async def check_admission(self, new: NewDeployment, wanted: VersionRef) -> None:
        """Whether `create_deployment` would let it in now. Raises Conflict, and ValidationFailed."""
        async with self._sessions() as session:
            await _admit(session, new, wanted)

    async def known_deployment(self, new: NewDeployment) -> DeploymentRow | None:
        """What the same caller has asked for before under this key; None without a key."""
        return None if new.idempotency_key is None else await self._by_key(new.initiated_by, new.idempotency_key)

    async def delete_unstarted_deployment(self, deployment_id: str) -> None:
        """Take back a row whose workflow was refused; nobody has been told of it yet."""
        async with self._sessions.begin() as session:
            await session.execute(
                delete(Deployment).where(
                    Deployment.deployment_id == deployment_id,
                    Deployment.status == DeploymentStatus.PENDING,
                    Deployment.run_id.is_(None),
                )
            )

    async def deployment(self, deployment_id: str) -> DeploymentRow:
        """Raises DeploymentNotFound."""
        async with self._sessions() as session:
            found = (await session.execute(_deployments().where(Deployment.deployment_id == deployment_id))).first()
            if found is None:
                raise DeploymentNotFound(f"there is no deployment {deployment_id}")
            verdicts = await session.scalars(
                select(AnalysisResult)
                .where(AnalysisResult.deployment_id == deployment_id)
                .order_by(AnalysisResult.step, AnalysisResult.begun_at)
            )
            analysis = tuple(StepVerdict(row.step, row.verdict, row.judged_at) for row in verdicts)
            place = (await places(session, [found[0]])).get(deployment_id)
        return DeploymentRow(found[0], found.model, found.version, found.previous, analysis, place)

    async def deployments(
        self, wanted: WantedDeployments = ANY_DEPLOYMENT, window: Window = FIRST
    ) -> Listing[DeploymentRow]:
        """The newest first, without their verdicts."""
        found = narrowed(
            _deployments(),
            (ModelVersion.version, wanted.version),
            (Deployment.environment, wanted.environment),
            (Deployment.kind, wanted.kind),
            (Deployment.initiated_by, wanted.initiated_by),
        )
        if wanted.model is not None:
            found = found.where(names(wanted.model))
        if wanted.statuses:
            found = found.where(Deployment.status.in_(wanted.statuses))
        if wanted.since is not None:
            found = found.where(Deployment.started_at >= wanted.since)
        if wanted.until is not None:
            found = found.where(Deployment.started_at < wanted.until)
        async with self._sessions() as session:
            rows = await page(session, found, DEPLOYMENTS_BY, window)
            waiting = await places(session, [row[0] for row in rows.items])
        items = tuple(
            DeploymentRow(row[0], row.model, row.version, row.previous, place=waiting.get(row[0].deployment_id))
            for row in rows.items
        )
        return Listing(items, rows.total, rows.next)

    async def running_deployment(self, environment: Environment, model: str) -> DeploymentRow | None:
        """The one under way, if there is one: the newest that has not ended."""
        wanted = _deployments().where(
            names(model), Deployment.environment == environment, Deployment.status.not_in(ENDED)
        )
        # A row that no workflow has opened yet is newer than the one that runs, or waits behind it.
        opened_first = wanted.order_by(Deployment.run_id.is_(None), Deployment.started_at.desc()).limit(1)
        async with self._sessions() as session:
            row = (await session.execute(opened_first)).first()
        return None if row is None else DeploymentRow(row[0], row.model, row.version, row.previous)

    async def _by_key(self, initiated_by: str, key: str) -> DeploymentRow | None:
        wanted = select(Deployment.deployment_id).where(
            Deployment.initiated_by == initiated_by, Deployment.idempotency_key == key
        )
        async with self._sessions() as session:
            known = await session.scalar(wanted)
        return None if known is None else await self.deployment(known)


def precedence(version: str) -> tuple[semver.Version, str]:
    """What versions are sorted by; what semver holds to be equal, by its text. Raises ValueError."""
    return semver.Version.parse(version), version


async def _admit(session: AsyncSession, new: NewDeployment, wanted: VersionRef) -> None:
    await admit(
        session,
        wanted,
        kind=new.kind,
        environment=new.environment,
        on_conflict=new.on_conflict,
        start_at=new.start_at,
    )


async def check_model(session: AsyncSession, id_or_name: str) -> None:
    """Raises ModelNotFound."""
    if await session.scalar(select(Model.model_id).where(names(id_or_name))) is None:
        raise no_model(id_or_name)


def no_model(id_or_name: str) -> ModelNotFound:
    """The error, with what would help."""
    return ModelNotFound(f"there is no model {id_or_name}; `hotswap models list` shows those there are")


def names(id_or_name: str) -> ColumnElement[bool]:
    return or_(Model.model_id == id_or_name, Model.name == id_or_name)


async def _with_versions(session: AsyncSession, models: Sequence[Model]) -> list[ModelRow]:
    """Each with what serves of it, and what its versions are called."""
    ids = [model.model_id for model in models]
    active = await session.execute(
        select(ActiveVersion.model_id, ActiveVersion.environment, ModelVersion.version)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .where(ActiveVersion.until.is_(None), ActiveVersion.model_id.in_(ids))
    )
    named = await session.execute(
        select(VersionAlias.model_id, VersionAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.version_id == VersionAlias.version_id)
        .where(VersionAlias.model_id.in_(ids))
        .order_by(VersionAlias.alias)
    )
    rows = {model.model_id: ModelRow(model, {}, {}) for model in models}
    for serving in active:
        rows[serving.model_id].active_versions[Environment(serving.environment)] = serving.version
    for alias in named:
        rows[alias.model_id].aliases[alias.alias] = alias.version
    return list(rows.values())


def _deployments() -> Select[Deployment, str, str, str | None]:
    previous = (
        select(ModelVersion.version)
        .where(ModelVersion.version_id == Deployment.previous_version_id)
        .correlate(Deployment)
        .scalar_subquery()
    )
    return (
        select(Deployment, Model.name.label("model"), ModelVersion.version.label("version"), previous.label("previous"))
        .join(Model, Model.model_id == Deployment.model_id)
        .join(ModelVersion, ModelVersion.version_id == Deployment.version_id)
    )


def _same(known: DeploymentRow, new: NewDeployment) -> DeploymentRow:
    first = known.deployment
    asked = (new.environment, new.kind, new.strategy, new.strategy_config, msgspec.to_builtins(new.resources))
    if asked != (first.environment, first.kind, first.strategy, first.strategy_config, first.resources) or (
        (new.start_at, new.accept_contract_change, new.emergency)
        != (first.start_at, first.accept_contract_change, first.emergency)
    ):
        raise Conflict(f"this Idempotency-Key was used for {first.deployment_id}, which was asked for otherwise")
    return known
