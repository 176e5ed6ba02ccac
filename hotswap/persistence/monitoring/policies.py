"""A model's monitoring policy, as people set it."""

from sqlalchemy import func, select

from hotswap.domain.auditing import AuditAction
from hotswap.persistence.platform.audit import about_model
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import names, no_model
from hotswap.persistence.tables import Model
from hotswap.schemas.monitoring import MonitoringConfig


class PostgresMonitoring:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def set(self, model: str, config: MonitoringConfig, *, by: str) -> str:
        """Replace the policy, on record; answers the model's name. Raises ModelNotFound."""
        wanted = config.model_dump(mode="json", by_alias=True)
        async with self._sessions.begin() as session:
            row = await session.scalar(select(Model).where(names(model)).with_for_update())
            if row is None:
                raise no_model(model)
            if row.monitoring != wanted:
                session.add(
                    about_model(
                        row.model_id, actor=by, action=AuditAction.SET_MONITORING, before=row.monitoring, after=wanted
                    )
                )
                row.monitoring, row.updated_at = wanted, func.now()
            return row.name
