"""Models and versions: register, look up, say what they are; how those that serve do."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from hotswap.client.calls import Calls, quoted, read, spelled
from hotswap.client.transport import ApiError
from hotswap.schemas.responses import (
    AlertView,
    CardView,
    DriftView,
    LineageView,
    MetricsView,
    ModelView,
    MonitoringView,
    Page,
    RegistrationStatus,
    RegistrationView,
    ServedView,
    VersionValidationView,
    VersionView,
)


class Registry(Calls):
    def register_model(
        self, name: str, version: str, *, framework: str, artifact_path: str, **optional: Any
    ) -> VersionView | RegistrationView:
        """Register a version; `optional` are the API's further fields, such as `checksum` or `trainingMetadata`.

        Answers the version, or how far it is where that takes longer than the API waits.
        """
        body = {"name": name, "version": version, "framework": framework, "artifactPath": artifact_path, **optional}
        answer = self._transport.send("POST", "/api/v1/models", body=body)
        if answer.status_code == httpx.codes.CREATED:
            return read(VersionView, answer)
        return read(RegistrationView, answer)

    def await_registration(self, model: str, version: str, *, timeout: float = 600.0) -> VersionView:
        """Wait for a registration's end. Raises ApiError with what it failed with, or TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self.registration(model, version)
            if seen.status is RegistrationStatus.COMPLETED:
                return self.version(model, version)
            if seen.status is RegistrationStatus.FAILED:
                raise ApiError(seen.code or "INTERNAL_ERROR", seen.message or "it failed", seen.details)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{model} {version} is still being registered after {timeout:g} s")
            time.sleep(1.0)

    def registration(self, model: str, version: str) -> RegistrationView:
        return read(RegistrationView, self._transport.send("GET", f"{_version_path(model, version)}/registration"))

    def models(
        self,
        *,
        framework: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        team: str | None = None,
        owner: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        archived: bool | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Page[ModelView]:
        """The newest first; `name` is a part of it, and `cursor`, here as in every list, the `next` of a page."""
        wanted = {
            "framework": framework,
            "type": type,
            "team": team,
            "owner": owner,
            "tag": tag,
            "name": name,
            "archived": archived,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return read(Page[ModelView], self._transport.send("GET", "/api/v1/models", query=wanted))

    def model(self, model: str) -> ModelView:
        """By its id or its name, as everywhere."""
        return read(ModelView, self._transport.send("GET", f"/api/v1/models/{quoted(model)}"))

    def history(
        self,
        model: str,
        *,
        environment: str | None = None,
        at: datetime | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Page[ServedView]:
        """What has served and who put it there, newest first; with `at` (with its time zone) what served then."""
        wanted = {
            "environment": environment,
            "at": at.isoformat() if at is not None else None,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return read(
            Page[ServedView], self._transport.send("GET", f"/api/v1/models/{quoted(model)}/history", query=wanted)
        )

    def versions(
        self,
        model: str,
        *,
        status: Sequence[str] | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Page[VersionView]:
        """The newest first, by semantic version; `status` is of one of these."""
        wanted = {"status": status, "limit": limit, "offset": offset, "cursor": cursor}
        return read(
            Page[VersionView], self._transport.send("GET", f"/api/v1/models/{quoted(model)}/versions", query=wanted)
        )

    def version(self, model: str, version: str) -> VersionView:
        return read(VersionView, self._transport.send("GET", _version_path(model, version)))

    def change_model(self, model: str, changes: Mapping[str, Any]) -> ModelView:
        """Change its `description`, `owner`, `team`, `tags` or `type`, by these names; the rest stays as it is."""
        return read(ModelView, self._transport.send("PATCH", f"/api/v1/models/{quoted(model)}", body=changes))

    def give_alias(self, model: str, alias: str, version: str) -> ModelView:
        """Let this version be called so too, and no other of the model."""
        return read(ModelView, self._transport.send("PUT", _alias_path(model, alias), body={"version": version}))

    def take_alias(self, model: str, alias: str) -> ModelView:
        """Let no version be called so."""
        return read(ModelView, self._transport.send("DELETE", _alias_path(model, alias)))

    def lineage(self, model: str, version: str) -> LineageView:
        """What a version was made from, and what was made from it."""
        return read(LineageView, self._transport.send("GET", f"{_version_path(model, version)}/lineage"))

    def card(self, model: str, version: str) -> CardView:
        """What people write of a version."""
        return read(CardView, self._transport.send("GET", f"{_version_path(model, version)}/card"))

    def write_card(self, model: str, version: str, text: str) -> CardView:
        """Write it anew, in Markdown; an empty text takes it away."""
        return read(CardView, self._transport.send("PUT", f"{_version_path(model, version)}/card", body={"text": text}))

    def deprecate(self, model: str, version: str, *, reason: str) -> VersionView:
        """Let nobody deploy it any more; what serves goes on serving."""
        path = f"{_version_path(model, version)}/deprecate"
        return read(VersionView, self._transport.send("POST", path, body={"reason": reason}))

    def restore_version(self, model: str, version: str, *, reason: str | None = None) -> VersionView:
        """Take a deprecated version back into use."""
        path = f"{_version_path(model, version)}/restore"
        return read(VersionView, self._transport.send("POST", path, body=_why(reason)))

    def validation(self, model: str, version: str) -> VersionValidationView:
        """What validation last said of a version, one row per check, and what is let pass."""
        return read(VersionValidationView, self._transport.send("GET", _validation_path(model, version)))

    def override_validation(
        self, model: str, version: str, *, reason: str, checks: Sequence[str] = ()
    ) -> VersionValidationView:
        """Let these failed checks pass from the next deployment on; without any, all that failed and may pass."""
        path = f"{_validation_path(model, version)}/override"
        body = {"reason": reason, "checks": list(checks)}
        return read(VersionValidationView, self._transport.send("POST", path, body=body))

    def withdraw_override(self, model: str, version: str, *, reason: str | None = None) -> VersionValidationView:
        """Let nothing of its validation pass any more."""
        path = f"{_validation_path(model, version)}/override"
        return read(VersionValidationView, self._transport.send("DELETE", path, body=_why(reason)))

    def archive(self, model: str, *, reason: str | None = None) -> ModelView:
        """Take a model out of use of which nothing serves."""
        path = f"/api/v1/models/{quoted(model)}"
        return read(ModelView, self._transport.send("DELETE", path, body=_why(reason)))

    def restore_model(self, model: str, *, reason: str | None = None) -> ModelView:
        """Take an archived model back into use."""
        path = f"/api/v1/models/{quoted(model)}/restore"
        return read(ModelView, self._transport.send("POST", path, body=_why(reason)))

    def metrics(
        self,
        model: str,
        *,
        window: timedelta = timedelta(hours=1),
        version: str | None = None,
        environment: str = "Production",
    ) -> MetricsView:
        """How the model did over the last `window`, or one version of it."""
        wanted = {"window": spelled(window), "version": version, "environment": environment}
        return read(MetricsView, self._transport.send("GET", f"/api/v1/models/{quoted(model)}/metrics", query=wanted))

    def drift(self, model: str, *, environment: str | None = None, now: bool = False) -> DriftView:
        """The newest report on what is active there, Production when absent; with `now` one made on the spot."""
        query = {"environment": environment}
        answer = self._transport.send("POST" if now else "GET", f"/api/v1/models/{quoted(model)}/drift", query=query)
        return read(DriftView, answer)

    def monitoring(self, model: str) -> MonitoringView:
        """What is watched of it once it serves."""
        return read(MonitoringView, self._transport.send("GET", f"/api/v1/models/{quoted(model)}/monitoring"))

    def change_monitoring(self, model: str, changes: Mapping[str, Any]) -> MonitoringView:
        """Change some of it, by the fields' names in JSON; the rest stays as it is."""
        policy = {**self.monitoring(model).to_json(), **changes}
        del policy["model"]
        answer = self._transport.send("PUT", f"/api/v1/models/{quoted(model)}/monitoring", body=policy)
        return read(MonitoringView, answer)

    def alerts(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        is_open: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Page[AlertView]:
        """What was found of active versions, newest first; `is_open` leaves out those that are over, or those not."""
        query = {
            "model": model,
            "environment": environment,
            "open": is_open,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return read(Page[AlertView], self._transport.send("GET", "/api/v1/alerts", query=query))


def _why(reason: str | None) -> dict[str, str] | None:
    return None if reason is None else {"reason": reason}


def _version_path(model: str, version: str) -> str:
    return f"/api/v1/models/{quoted(model)}/versions/{quoted(version)}"


def _validation_path(model: str, version: str) -> str:
    return f"{_version_path(model, version)}/validation"


def _alias_path(model: str, alias: str) -> str:
    return f"/api/v1/models/{quoted(model)}/aliases/{quoted(alias)}"
