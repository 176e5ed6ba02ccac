"""The workflows that register versions, as whoever asks for a registration needs them."""

from typing import Protocol

from hotswap.domain.errors import HotSwapError
from hotswap.domain.registry import VersionRef
from hotswap.messages import RegistrationInput
from hotswap.schemas.responses import RegistrationStatus


class RegistrationWorkflows(Protocol):
    """Every method raises Unavailable when Temporal doesn't answer."""

    async def register(self, request: RegistrationInput) -> VersionRef | None:
        """Start the registration and wait for its end; None when that takes longer.

        Raises Conflict when this version is being registered, and what the registration failed with.
        """

    async def registration(self, model: str, version: str) -> RegistrationStatus | HotSwapError:
        """Return how far the last registration of this version is, or the error with which it failed.

        Raises VersionNotFound when there never was one, or when Temporal has forgotten it.
        """


def registration_path(model: str, version: str) -> str:
    """Return the path of the API at which people read how far a registration is."""
    return f"/api/v1/models/{model}/versions/{version}/registration"
