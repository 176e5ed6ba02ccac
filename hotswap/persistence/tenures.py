"""What is active where and since when: implements `hotswap.ports.Tenures`. Reads only."""

from datetime import datetime

from sqlalchemy import Select, func, select

from hotswap.domain.promotion import Tenure, Term, tenure
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.database import Sessions
from hotswap.persistence.queries import names
from hotswap.persistence.tables import ActiveVersion, Model, ModelVersion


class PostgresTenures:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def tenure(self, model: str, environment: Environment) -> Tenure:
        async with self._sessions() as session:
            at = (await session.scalars(select(func.now()))).one()
            rows = await session.execute(_terms(model, environment))
            return tenure((Term(row.version, row.since, row.until) for row in rows), at=at)


def _terms(model: str, environment: Environment) -> Select[str, datetime, datetime | None]:
    return (
        select(ModelVersion.version, ActiveVersion.since, ActiveVersion.until)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .where(names(model), ActiveVersion.environment == environment)
        # The open one first: until it closes its end is nowhere, and its beginning may be another's end.
        .order_by(ActiveVersion.until.desc().nulls_first(), ActiveVersion.id.desc())
    )
