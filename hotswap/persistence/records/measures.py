"""Figures of a model over some time, from the roll-ups and the proxies' counts. Reads only.

Any time is a short sum (`rollups.pieces`), so that it costs the same for a thousand requests as for ten million.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, func, or_, select, true

from hotswap.analysis.quality import Quality
from hotswap.domain.analysis import Moments
from hotswap.domain.traffic import Counts
from hotswap.domain.vocabulary import ArmName, Environment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.quality import quality
from hotswap.persistence.records.rollups import HOUR, MINUTE, Piece, pieces
from hotswap.persistence.records.sketches import quantiles
from hotswap.persistence.tables import Deployment, Model, ModelVersion, RecordRollup
from hotswap.persistence.traffic import proxy_counts
from hotswap.settings import RetentionSettings

_SUMMED = (
    RecordRollup.requests,
    RecordRollup.failures,
    RecordRollup.refused,
    RecordRollup.latency_sum,
    RecordRollup.confidence_count,
    RecordRollup.confidence_sum,
    RecordRollup.confidence_squares,
    RecordRollup.prediction_count,
    RecordRollup.prediction_sum,
    RecordRollup.prediction_squares,
)


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of applications' answers. `latency` are a sketch's bins, in milliseconds (`sketches.py`)."""

    requests: int = 0
    failures: int = 0
    refused: int = 0
    latency_sum: float = 0.0
    latency: dict[str, int] = field(default_factory=dict)
    confidence: Moments = field(default_factory=Moments)
    prediction: Moments = field(default_factory=Moments)

    @property
    def latency_mean(self) -> float | None:
        measured = sum(self.latency.values())
        return self.latency_sum / measured if measured else None

    def latency_quantiles(self, *wanted: float) -> list[float | None]:
        return quantiles(self.latency, *wanted)


@dataclass(frozen=True, slots=True)
class MeasureWindow:
    """The measures from `begin` on and before `end`, with what was asked for."""

    begin: datetime
    end: datetime
    measures: Measures
    clients: Counts
    """Measures as the proxies counted them."""
    quality: Quality
    """The quality by the outcomes that are known by now."""


class PostgresMeasures:
    def __init__(self, sessions: Sessions, retention: RetentionSettings) -> None:
        self._sessions = sessions
        self._retention = retention

    async def window(
        self, model: str, environment: Environment, *, version: str | None, span: timedelta, now: datetime
    ) -> MeasureWindow:
        """Return the figures of a model by its name, or of one version, without answers that only a shadow gave.

        The window begins at a whole minute or hour where nothing finer is kept any more.
        """
        end = int(now.timestamp()) + 1
        begin = self._kept_since(int((now - span).timestamp()), now=int(now.timestamp()))
        wanted = [
            RecordRollup.model_name == model,
            RecordRollup.environment == environment,
            RecordRollup.arm != ArmName.SHADOW,
        ]
        if version is not None:
            wanted.append(RecordRollup.version == version)
        measures = await self._sum(and_(*wanted), pieces(begin, end))
        clients = await self._clients(model, environment, version, begin, end)
        since, until = (datetime.fromtimestamp(seconds, UTC) for seconds in (begin, end))
        async with self._sessions() as session:
            worth = await quality(
                session, since=since, until=until, model=model, version=version, environment=environment
            )
        return MeasureWindow(since, until, measures, clients, worth)

    def _kept_since(self, begin: int, *, now: int) -> int:
        if begin < now - self._retention.minutes.total_seconds():
            return begin // HOUR * HOUR
        if begin < now - self._retention.seconds.total_seconds():
            return begin // MINUTE * MINUTE
        return begin

    async def _sum(self, wanted: ColumnElement[bool], parts: Sequence[Piece]) -> Measures:
        within = or_(*(_within(part) for part in parts))
        of_each = func.jsonb_each_text(RecordRollup.latency).table_valued("bin", "count").render_derived()
        counted = func.sum(of_each.c["count"].cast(BigInteger))
        async with self._sessions() as session:
            sums = (await session.execute(select(*map(func.sum, _SUMMED)).where(wanted, within))).one()
            bins = await session.execute(
                select(of_each.c.bin, counted)
                .select_from(RecordRollup)
                .join(of_each, true())
                .where(wanted, within)
                .group_by(of_each.c.bin)
            )
            return _measures(sums, {name: int(count) for name, count in bins})

    async def _clients(self, model: str, environment: Environment, version: str | None, begin: int, end: int) -> Counts:
        applications = (
            select(Deployment.application)
            .join(Model, Model.model_id == Deployment.model_id)
            .join(ModelVersion, ModelVersion.version_id == Deployment.version_id)
            .where(Model.name == model, Deployment.environment == environment, Deployment.application.is_not(None))
            .distinct()
        )
        if version is not None:
            applications = applications.where(ModelVersion.version == version)
        total = Counts()
        async with self._sessions() as session:
            for application in await session.scalars(applications):
                assert application is not None
                before = await proxy_counts.at(session, application, begin)
                total += await proxy_counts.at(session, application, end) - before
        return total


def _within(piece: Piece) -> ColumnElement[bool]:
    return and_(
        RecordRollup.width_seconds == piece.width,
        RecordRollup.at >= datetime.fromtimestamp(piece.begin, UTC),
        RecordRollup.at < datetime.fromtimestamp(piece.end, UTC),
    )


def _measures(sums: Any, bins: dict[str, int]) -> Measures:
    requests, failures, refused, latency_sum, *moments = (figure or 0 for figure in sums)
    return Measures(
        requests=int(requests),
        failures=int(failures),
        refused=int(refused),
        latency_sum=float(latency_sum),
        latency=bins,
        confidence=_moments(*moments[:3]),
        prediction=_moments(*moments[3:]),
    )


def _moments(count: Any, total: Any, squares: Any) -> Moments:
    return Moments(int(count), float(total), float(squares))
