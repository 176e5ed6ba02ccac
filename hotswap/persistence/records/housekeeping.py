"""Work of the recorder beside recording: it samples the proxies' counts, and each hour deletes what is old.

`retention.py` says what that is, and in which order. A server that is away is tried again, and never holds up the
records.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Protocol

from hotswap.domain.proxies import RegisteredProxy
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.retention import let_go
from hotswap.persistence.traffic.proxy_counts import sample
from hotswap.settings import RetentionSettings

SAMPLE_SECONDS = 2.0
RETENTION_SECONDS = 3600.0

logger = logging.getLogger(__name__)


class RegisteredProxies(Protocol):
    async def proxies(self) -> list[RegisteredProxy]: ...


class Housekeeper:
    def __init__(self, sessions: Sessions, bus: RegisteredProxies, retention: RetentionSettings) -> None:
        self._sessions = sessions
        self._bus = bus
        self._retention = retention

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sampling())
            group.create_task(self._keep_letting_go())

    async def _keep_sampling(self) -> None:
        is_away = False
        while True:
            try:
                await sample(self._sessions, [each.report for each in await self._bus.proxies()])
                is_away = False
            except Exception as error:  # noqa: BLE001 - whatever it is, records go on
                if not is_away:
                    logger.warning("the proxies' counts wait", extra={"error": repr(error)[:500]})
                is_away = True
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _keep_letting_go(self) -> None:
        while True:
            try:
                await let_go(self._sessions, self._retention, now=datetime.now(UTC))
            except Exception as error:  # noqa: BLE001 - whatever it is, records go on
                logger.warning("what is old stays for another hour", extra={"error": repr(error)[:500]})
            await asyncio.sleep(RETENTION_SECONDS)
