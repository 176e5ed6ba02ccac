"""Versions of a model: their registration, cards, deprecation and validation."""

import time
from collections.abc import Sequence

from hotswap.client.calls import Call, CallPause, Steps, ask, delete, get, post, put, quoted
from hotswap.client.models import model_path
from hotswap.client.resources import ClientResource, T, call, steps
from hotswap.client.transport import ApiError
from hotswap.schemas.requests import Deprecate, OverrideValidation, Say, WriteCard
from hotswap.schemas.responses import (
    CardView,
    LineageView,
    Page,
    RegistrationStatus,
    RegistrationView,
    VersionValidationView,
    VersionView,
)

INTERVAL_SECONDS = 1.0


class Versions(ClientResource[T]):
    @call
    def list(
        self,
        model: str,
        *,
        status: Sequence[str] | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Call[Page[VersionView]]:
        """List versions, newest first by semantic version; `status` is one or several."""
        wanted = {"status": status, "limit": limit, "offset": offset, "cursor": cursor}
        return get(Page[VersionView], f"{model_path(model)}/versions", wanted)

    @call
    def get(self, model: str, version: str) -> Call[VersionView]:
        """Return a version, by its number, its id or an alias, as in all calls."""
        return get(VersionView, _path(model, version))

    @call
    def registration(self, model: str, version: str) -> Call[RegistrationView]:
        """Return how far a version's registration is."""
        return get(RegistrationView, f"{_path(model, version)}/registration")

    @steps
    def await_registration(self, model: str, version: str, *, timeout: float = 600.0) -> Steps[VersionView]:
        """Wait for a registration's end. Raises ApiError with what it failed with, or TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            seen = yield from ask(get(RegistrationView, f"{_path(model, version)}/registration"))
            if seen.status is RegistrationStatus.COMPLETED:
                return (yield from ask(get(VersionView, _path(model, version))))
            if seen.status is RegistrationStatus.FAILED:
                raise ApiError(seen.code or "INTERNAL_ERROR", seen.message or "it failed", seen.details)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{model} {version} is still being registered after {timeout:g} s")
            yield CallPause(INTERVAL_SECONDS)

    @call
    def lineage(self, model: str, version: str) -> Call[LineageView]:
        """Return what a version was made from, and what was made from it."""
        return get(LineageView, f"{_path(model, version)}/lineage")

    @call
    def card(self, model: str, version: str) -> Call[CardView]:
        """Return a version's card, which people write."""
        return get(CardView, f"{_path(model, version)}/card")

    @call
    def write_card(self, model: str, version: str, text: str) -> Call[CardView]:
        """Write it anew, in Markdown; an empty text takes it away."""
        return put(CardView, f"{_path(model, version)}/card", WriteCard(text=text))

    @call
    def deprecate(self, model: str, version: str, *, reason: str) -> Call[VersionView]:
        """Let nobody deploy it any more; what serves goes on serving."""
        return post(VersionView, f"{_path(model, version)}/deprecate", Deprecate(reason=reason))

    @call
    def restore(self, model: str, version: str, *, reason: str | None = None) -> Call[VersionView]:
        """Take a deprecated version back into use."""
        return post(VersionView, f"{_path(model, version)}/restore", Say(reason=reason))

    @call
    def validation(self, model: str, version: str) -> Call[VersionValidationView]:
        """Return a version's newest validation report, with a row per check, and the checks that an Admin lets pass."""
        return get(VersionValidationView, f"{_path(model, version)}/validation")

    @call
    def override_validation(
        self, model: str, version: str, *, reason: str, checks: Sequence[str] = ()
    ) -> Call[VersionValidationView]:
        """Let these failed checks pass from the next deployment on; without any, all that failed and may pass."""
        body = OverrideValidation(reason=reason, checks=[*checks])
        return post(VersionValidationView, f"{_path(model, version)}/validation/override", body)

    @call
    def withdraw_override(self, model: str, version: str, *, reason: str | None = None) -> Call[VersionValidationView]:
        """Let nothing of its validation pass any more."""
        return delete(VersionValidationView, f"{_path(model, version)}/validation/override", Say(reason=reason))


def _path(model: str, version: str) -> str:
    return f"{model_path(model)}/versions/{quoted(version)}"
