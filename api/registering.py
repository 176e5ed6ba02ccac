"""What is told of a version that isn't there: that it is still being registered, or that its registration failed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.context import Parts
from api.orchestration import registration_path
from hotswap.domain.errors import HotSwapError, ModelNotFound, Unavailable, VersionNotFound
from hotswap.schemas.responses import RegistrationStatus


@asynccontextmanager
async def telling_of_registration(parts: Parts, model: str, version: str | None) -> AsyncIterator[None]:
    """Let a ModelNotFound or VersionNotFound of this version say how far its registration is, if there was one."""
    try:
        yield
    except (ModelNotFound, VersionNotFound) as missing:
        told = await _told(parts, model, version) if version is not None else None
        if told is None:
            raise
        raise type(missing)(told) from None


async def _told(parts: Parts, model: str, version: str) -> str | None:
    try:
        state = await parts.orchestration.registration(model, version)
    except (VersionNotFound, Unavailable):
        return None
    if isinstance(state, HotSwapError):
        return f"{model} {version} is not there: its registration has failed ({state.message}); register it again"
    if state is RegistrationStatus.RUNNING:
        path = registration_path(model, version)
        return f"{model} {version} is still being registered; deploy it once GET {path} says Completed"
    return None
