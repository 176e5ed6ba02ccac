"""Freezes, during which no rollout starts."""

from datetime import datetime, timedelta

from hotswap.client.calls import Call, delete, get, post, quoted
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.requests import CreateFreeze
from hotswap.schemas.responses import FreezeView, Page

FREEZES = "/api/v1/freezes"


class Freezes(ClientResource[T]):
    @call
    def create(
        self,
        environment: str,
        *,
        reason: str,
        until: datetime | None = None,
        duration: timedelta | None = None,
        starts_at: datetime | None = None,
    ) -> Call[FreezeView]:
        """Start no rollout there until then, or for that long; times have their time zone."""
        body = CreateFreeze(environment=environment, reason=reason, until=until, duration=duration, starts_at=starts_at)
        return post(FreezeView, FREEZES, body)

    @call
    def list(
        self, *, environment: str | None = None, limit: int = 200, cursor: str | None = None
    ) -> Call[Page[FreezeView]]:
        """List the freezes that are in force or planned."""
        return get(Page[FreezeView], FREEZES, {"environment": environment, "limit": limit, "cursor": cursor})

    @call
    def get(self, freeze_id: str) -> Call[FreezeView]:
        """Return one freeze, even when it is over."""
        return get(FreezeView, f"{FREEZES}/{quoted(freeze_id)}")

    @call
    def thaw(self, freeze_id: str) -> Call[FreezeView]:
        """End a freeze, or call off a planned one."""
        return delete(FreezeView, f"{FREEZES}/{quoted(freeze_id)}")
