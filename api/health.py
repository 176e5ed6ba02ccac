"""Liveness, and readiness of everything that the API needs. Anybody may ask for either, so both are cheap.

Liveness looks at nothing else: an orchestrator must not restart the API because a database is away. Readiness asks each
server at most once a second, however many ask, and names only the kind of a failure; the log has the details.
"""

import asyncio
import logging
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth import anonymous
from api.context import Probe, With
from api.routing import GuardedRoute
from hotswap.domain.errors import HotSwapError

router = APIRouter(prefix="/health", tags=["health"], route_class=GuardedRoute, dependencies=[])

PROBE_SECONDS = 2.0
FRESH_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Readiness:
    """Asks all servers at once and remembers the answer for a second; one inquiry at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        self._known_at = float("-inf")

    async def look(self, probes: dict[str, Probe]) -> dict[str, dict[str, Any]]:
        async with self._lock:
            if time.monotonic() - self._known_at > FRESH_SECONDS:
                found = await asyncio.gather(*(_ask(name, probe) for name, probe in probes.items()))
                self._known = dict(zip(probes, found, strict=True))
                self._known_at = time.monotonic()
            return self._known


@router.get("", dependencies=[anonymous()])
async def live() -> dict[str, str]:
    """Answer 200 while the API process lives, whatever else is away."""
    return {"status": "alive"}


@router.get("/ready", dependencies=[anonymous()], responses={503: {"description": "a server does not answer"}})
async def ready(parts: With, request: Request, response: Response) -> dict[str, Any]:
    """Answer 200 if PostgreSQL, Redis, Temporal and S3 answer, else 503 with the servers that don't, and why."""
    readiness: Readiness = request.app.state.readiness
    checks = await readiness.look(dict(parts.probes))
    is_ready = all(check["ok"] for check in checks.values())
    response.status_code = 200 if is_ready else 503
    return {"status": "ready" if is_ready else "unavailable", "checks": checks}


async def _ask(name: str, probe: Probe) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except TimeoutError:
        return {"ok": False, "why": f"no answer within {PROBE_SECONDS:g} s"}
    except HotSwapError as error:
        return {"ok": False, "why": error.message}
    except Exception as error:
        logger.warning("%s is not ready", name, exc_info=error)
        return {"ok": False, "why": f"does not answer as it should ({type(error).__name__})"}
    return {"ok": True}
