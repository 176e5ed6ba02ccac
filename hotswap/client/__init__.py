"""The Python client of HotSwap: one method per thing one can ask, typed answers, one kind of error.

    with HotSwap("http://127.0.0.1:5000", token) as hotswap:
        hotswap.register_model("fraud-detection", "2.0.0", framework="ONNX", artifact_path="s3://ml-models/...")
        deployment = hotswap.deploy("fraud-detection", version="2.0.0", config={"canaryPercentage": 10})
        for seen in hotswap.follow(deployment.deployment_id):
            print(seen.status, seen.traffic_percentage)

A deployment is asked for under an idempotency key, so asking again after a broken connection never starts a second one.
Beyond opening the connection nothing is tried again: whether to is the caller's decision. Not for many threads at once
with different tokens: make one client for each.
"""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from hotswap.client.asking import deployment_body, routing_headers
from hotswap.client.transport import ApiError, Transport
from hotswap.views import (
    Accepted,
    AlertView,
    AnswerView,
    AuditPage,
    BatchPredictionView,
    CardView,
    DeploymentView,
    DriftView,
    DryRunView,
    ExplanationView,
    FreezeView,
    MetricsView,
    ModelView,
    MonitoringView,
    OutcomesTaken,
    Page,
    PredictionView,
    RegistrationStatus,
    RegistrationView,
    ReplayView,
    ServedView,
    TokenView,
    VersionView,
    View,
)

__all__ = ["ApiError", "HotSwap"]

MOST_OUTCOMES = 1_000
"""In one call."""

Answered = TypeVar("Answered", bound=View)


class HotSwap:
    """`url` is the public address; `timeout` in seconds is for one call, and `transport` is httpx's."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(url, token, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # --- registry -----------------------------------------------------------------------------------------------------

    def register_model(
        self, name: str, version: str, *, framework: str, artifact_path: str, **optional: Any
    ) -> VersionView | RegistrationView:
        """Register a version; `optional` are the API's further fields, such as `checksum` or `trainingMetadata`.

        Answers the version, or how far it is where that takes longer than the API waits.
        """
        body = {"name": name, "version": version, "framework": framework, "artifactPath": artifact_path, **optional}
        answer = self._transport.send("POST", "/api/v1/models", body=body)
        if answer.status_code == httpx.codes.CREATED:
            return _read(VersionView, answer)
        return _read(RegistrationView, answer)

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
        return _read(RegistrationView, self._transport.send("GET", f"{_version_path(model, version)}/registration"))

    def models(
        self,
        *,
        framework: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        limit: int = 50,
        offset: int = 0,
    ) -> Page[ModelView]:
        wanted = {"framework": framework, "type": type, "limit": limit, "offset": offset}
        return _read(Page[ModelView], self._transport.send("GET", "/api/v1/models", query=wanted))

    def model(self, model: str) -> ModelView:
        """By its id or its name, as everywhere."""
        return _read(ModelView, self._transport.send("GET", f"/api/v1/models/{_quoted(model)}"))

    def history(
        self,
        model: str,
        *,
        environment: str | None = None,
        at: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Page[ServedView]:
        """What has served and who put it there, newest first; with `at` (with its time zone) what served then."""
        wanted = {
            "environment": environment,
            "at": at.isoformat() if at is not None else None,
            "limit": limit,
            "offset": offset,
        }
        return _read(
            Page[ServedView], self._transport.send("GET", f"/api/v1/models/{_quoted(model)}/history", query=wanted)
        )

    def versions(self, model: str, *, limit: int = 50, offset: int = 0) -> Page[VersionView]:
        wanted = {"limit": limit, "offset": offset}
        return _read(
            Page[VersionView], self._transport.send("GET", f"/api/v1/models/{_quoted(model)}/versions", query=wanted)
        )

    def version(self, model: str, version: str) -> VersionView:
        return _read(VersionView, self._transport.send("GET", _version_path(model, version)))

    def change_model(self, model: str, changes: Mapping[str, Any]) -> ModelView:
        """Change its `description`, `owner`, `team`, `tags` or `type`, by these names; the rest stays as it is."""
        return _read(ModelView, self._transport.send("PATCH", f"/api/v1/models/{_quoted(model)}", body=changes))

    def give_alias(self, model: str, alias: str, version: str) -> ModelView:
        """Let this version be called so too, and no other of the model."""
        return _read(ModelView, self._transport.send("PUT", _alias_path(model, alias), body={"version": version}))

    def take_alias(self, model: str, alias: str) -> ModelView:
        """Let no version be called so."""
        return _read(ModelView, self._transport.send("DELETE", _alias_path(model, alias)))

    def card(self, model: str, version: str) -> CardView:
        """What people write of a version."""
        return _read(CardView, self._transport.send("GET", f"{_version_path(model, version)}/card"))

    def write_card(self, model: str, version: str, text: str) -> CardView:
        """Write it anew, in Markdown; an empty text takes it away."""
        return _read(
            CardView, self._transport.send("PUT", f"{_version_path(model, version)}/card", body={"text": text})
        )

    def deprecate(self, model: str, version: str, *, reason: str) -> VersionView:
        """Let nobody deploy it any more; what serves goes on serving."""
        path = f"{_version_path(model, version)}/deprecate"
        return _read(VersionView, self._transport.send("POST", path, body={"reason": reason}))

    def restore_version(self, model: str, version: str, *, reason: str | None = None) -> VersionView:
        """Take a deprecated version back into use."""
        path = f"{_version_path(model, version)}/restore"
        return _read(VersionView, self._transport.send("POST", path, body=_why(reason)))

    def archive(self, model: str, *, reason: str | None = None) -> ModelView:
        """Take a model out of use of which nothing serves."""
        path = f"/api/v1/models/{_quoted(model)}"
        return _read(ModelView, self._transport.send("DELETE", path, body=_why(reason)))

    def restore_model(self, model: str, *, reason: str | None = None) -> ModelView:
        """Take an archived model back into use."""
        path = f"/api/v1/models/{_quoted(model)}/restore"
        return _read(ModelView, self._transport.send("POST", path, body=_why(reason)))

    def metrics(
        self,
        model: str,
        *,
        window: timedelta = timedelta(hours=1),
        version: str | None = None,
        environment: str = "Production",
    ) -> MetricsView:
        """How the model did over the last `window`, or one version of it."""
        wanted = {"window": f"PT{window.total_seconds():g}S", "version": version, "environment": environment}
        return _read(MetricsView, self._transport.send("GET", f"/api/v1/models/{_quoted(model)}/metrics", query=wanted))

    def drift(self, model: str, *, environment: str | None = None, now: bool = False) -> DriftView:
        """The newest report on what is active there, Production when absent; with `now` one made on the spot."""
        query = {"environment": environment}
        answer = self._transport.send("POST" if now else "GET", f"/api/v1/models/{_quoted(model)}/drift", query=query)
        return _read(DriftView, answer)

    def monitoring(self, model: str) -> MonitoringView:
        """What is watched of it once it serves."""
        return _read(MonitoringView, self._transport.send("GET", f"/api/v1/models/{_quoted(model)}/monitoring"))

    def change_monitoring(self, model: str, changes: Mapping[str, Any]) -> MonitoringView:
        """Change some of it, by the fields' names in JSON; the rest stays as it is."""
        policy = {**self.monitoring(model).to_json(), **changes}
        del policy["model"]
        answer = self._transport.send("PUT", f"/api/v1/models/{_quoted(model)}/monitoring", body=policy)
        return _read(MonitoringView, answer)

    def alerts(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        is_open: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Page[AlertView]:
        """What was found of active versions, newest first; `is_open` leaves out those that are over, or those not."""
        query = {"model": model, "environment": environment, "open": is_open, "limit": limit, "offset": offset}
        return _read(Page[AlertView], self._transport.send("GET", "/api/v1/alerts", query=query))

    # --- deployments --------------------------------------------------------------------------------------------------

    def deploy(
        self,
        model: str,
        *,
        version: str | None = None,
        environment: str = "Production",
        strategy: str | None = None,
        config: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        on_conflict: str | None = None,
        start_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Start a deployment; without `version` of the newest one that can be deployed.

        `resources` is `{"replicas", "gpus", "cpus"}`, the latter two per replica; with `minReplicas` and `maxReplicas`
        it scales by load. `on_conflict` (`reject`, `queue` or `supersede`) says what becomes of it while another of the
        model is under way; `start_at` has its time zone.
        """
        given = deployment_body(model, version, environment, strategy, config, resources, on_conflict, start_at)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return _read(Accepted, self._transport.send("POST", "/api/v1/deployments", body=given, headers=headers))

    def dry_run(
        self,
        model: str,
        *,
        version: str | None = None,
        environment: str = "Production",
        strategy: str | None = None,
        config: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        on_conflict: str | None = None,
        start_at: datetime | None = None,
    ) -> DryRunView:
        """What `deploy` with the same arguments would do, and what would refuse it; starts and writes nothing."""
        given = deployment_body(model, version, environment, strategy, config, resources, on_conflict, start_at)
        answer = self._transport.send("POST", "/api/v1/deployments", body=given, query={"dryRun": "true"})
        return _read(DryRunView, answer)

    def deployments(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        status: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Page[DeploymentView]:
        wanted = {"model": model, "environment": environment, "status": status, "limit": limit, "offset": offset}
        return _read(Page[DeploymentView], self._transport.send("GET", "/api/v1/deployments", query=wanted))

    def deployment(self, deployment_id: str) -> DeploymentView:
        return _read(DeploymentView, self._transport.send("GET", f"/api/v1/deployments/{_quoted(deployment_id)}"))

    def explain(self, deployment_id: str) -> ExplanationView:
        """Why it is where it is: what was seen, judged and decided, in order of time."""
        path = f"/api/v1/deployments/{_quoted(deployment_id)}/explain"
        return _read(ExplanationView, self._transport.send("GET", path))

    def replay(self, deployment_id: str, config: Mapping[str, Any] | None = None) -> ReplayView:
        """Judge a past deployment again; `config` is what of its strategy's configuration shall be otherwise."""
        path = f"/api/v1/deployments/{_quoted(deployment_id)}/replay"
        return _read(ReplayView, self._transport.send("POST", path, body={"strategyConfig": dict(config or {})}))

    def follow(self, deployment_id: str, *, interval: float = 1.0) -> Iterator[DeploymentView]:
        """The deployment as it is now and whenever it changed, until it has ended; `interval` in seconds."""
        last: DeploymentView | None = None
        while last is None or not last.status.is_terminal:
            seen = self.deployment(deployment_id)
            if seen != last:
                yield seen
            last = seen
            if not seen.status.is_terminal:
                time.sleep(interval)

    def approve(self, deployment_id: str, *, reason: str | None = None, step: int | None = None) -> AnswerView:
        return self._say(deployment_id, "approve", reason=reason, step=step)

    def reject(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        return self._say(deployment_id, "reject", reason=reason)

    def pause(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        """Stay at the present weight, watched for harm."""
        return self._say(deployment_id, "pause", reason=reason)

    def resume(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        """End a pause; the present step begins anew."""
        return self._say(deployment_id, "resume", reason=reason)

    def go_to(self, deployment_id: str, step: int, *, reason: str | None = None) -> AnswerView:
        """To a step, counted from 1."""
        return self._say(deployment_id, "goto", reason=reason, step=step)

    def scale(self, deployment_id: str, replicas: int, *, reason: str | None = None) -> AnswerView:
        """Have so many replicas of what serves by this deployment; refused where they have no room."""
        return self._say(deployment_id, "scale", reason=reason, replicas=replicas)

    def retry(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        """Run the analysis again that holds it; one that ended without success is deployed again."""
        return self._say(deployment_id, "retry", reason=reason)

    def promote(self, deployment_id: str, *, reason: str | None = None, full: bool = False) -> AnswerView:
        """End the present bake as passed; with `full` go to 100% at once."""
        return self._say(deployment_id, "promote", reason=reason, full=full or None)

    def abort(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        return self._say(deployment_id, "abort", reason=reason)

    def rollback(self, deployment_id: str, *, reason: str | None = None) -> AnswerView:
        """Undo it: a running one is aborted; after an active one the version before it is deployed again."""
        return self._say(deployment_id, "rollback", reason=reason)

    # --- freezes ------------------------------------------------------------------------------------------------------

    def freeze(
        self,
        environment: str,
        *,
        reason: str,
        until: datetime | None = None,
        duration: timedelta | None = None,
        starts_at: datetime | None = None,
    ) -> FreezeView:
        """Start no rollout there until then, or for that long; times have their time zone."""
        body = {
            "environment": environment,
            "reason": reason,
            "until": until.isoformat() if until is not None else None,
            "duration": f"PT{duration.total_seconds():.6f}S" if duration is not None else None,
            "startsAt": starts_at.isoformat() if starts_at is not None else None,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return _read(FreezeView, self._transport.send("POST", "/api/v1/freezes", body=given))

    def freezes(self, *, environment: str | None = None, limit: int = 200) -> Page[FreezeView]:
        """Those in force and those planned."""
        wanted = {"environment": environment, "limit": limit}
        return _read(Page[FreezeView], self._transport.send("GET", "/api/v1/freezes", query=wanted))

    def thaw(self, freeze_id: str) -> FreezeView:
        return _read(FreezeView, self._transport.send("DELETE", f"/api/v1/freezes/{_quoted(freeze_id)}"))

    # --- audit --------------------------------------------------------------------------------------------------------

    def audit(
        self,
        *,
        target: str | None = None,
        target_type: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        trace_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> AuditPage:
        """Who did what, newest first; `cursor` is the `next` of the page before. Times have their time zone."""
        query = {
            "target": target,
            "targetType": target_type,
            "actor": actor,
            "action": action,
            "traceId": trace_id,
            "since": since.isoformat() if since is not None else None,
            "until": until.isoformat() if until is not None else None,
            "limit": limit,
            "cursor": cursor,
        }
        return _read(AuditPage, self._transport.send("GET", "/api/v1/audit", query=query))

    # --- inference ----------------------------------------------------------------------------------------------------

    def infer(
        self,
        model: str,
        features: Sequence[Any] | Mapping[str, Any],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> PredictionView:
        """One prediction; `entity` (a user, an account) keeps its arm during a rollout.

        A `tester` is answered by the candidate whatever its weight, and by the stable where there is no candidate.
        """
        return _read(
            PredictionView,
            self._transport.send(
                "POST",
                f"/api/v1/inference/{_quoted(model)}",
                body={"features": features},
                headers=routing_headers(environment, version, entity, tester=tester),
            ),
        )

    def infer_batch(
        self,
        model: str,
        instances: Sequence[Sequence[Any] | Mapping[str, Any]],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> BatchPredictionView:
        return _read(
            BatchPredictionView,
            self._transport.send(
                "POST",
                f"/api/v1/inference/{_quoted(model)}/batch",
                body={"instances": instances},
                headers=routing_headers(environment, version, entity, tester=tester),
            ),
        )

    def report_outcome(
        self, request_id: str, outcome: str | float, *, observed_at: datetime | None = None
    ) -> OutcomesTaken:
        """What a prediction should have been, a label or a number; another one replaces it, the same changes nothing.

        `observed_at` has its time zone; one that was observed before the outcome already known doesn't replace it.
        """
        body = {"outcome": outcome} | ({"observedAt": observed_at.isoformat()} if observed_at is not None else {})
        path = f"/api/v1/inference/{_quoted(request_id)}/outcome"
        return _read(OutcomesTaken, self._transport.send("POST", path, body=body))

    def report_outcomes(self, outcomes: Mapping[str, str | float]) -> OutcomesTaken:
        """The same of many requests, by their ids; as many calls as it takes, which may all be made again."""
        said = [{"requestId": request_id, "outcome": outcome} for request_id, outcome in outcomes.items()]
        accepted = 0
        for begin in range(0, len(said), MOST_OUTCOMES):
            body = {"outcomes": said[begin : begin + MOST_OUTCOMES]}
            answer = self._transport.send("POST", "/api/v1/inference/outcomes", body=body)
            accepted += _read(OutcomesTaken, answer).accepted
        return OutcomesTaken(accepted=accepted)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def login(self, user: str, password: str) -> TokenView:
        body = {"user": user, "password": password}
        return _read(TokenView, self._transport.send("POST", "/api/v1/authentication/login", body=body))

    def readiness(self) -> dict[str, Any]:
        """Whether each server behind the API answers; an answer also where one doesn't."""
        answer: dict[str, Any] = self._transport.request("GET", "/health/ready").json()
        return answer

    def _say(self, deployment_id: str, verb: str, **said: Any) -> AnswerView:
        body = {name: value for name, value in said.items() if value is not None}
        return _read(
            AnswerView, self._transport.send("POST", f"/api/v1/deployments/{_quoted(deployment_id)}/{verb}", body=body)
        )


def _read(kind: type[Answered], answer: httpx.Response) -> Answered:
    return kind.model_validate_json(answer.content)


def _why(reason: str | None) -> dict[str, str] | None:
    return None if reason is None else {"reason": reason}


def _version_path(model: str, version: str) -> str:
    return f"/api/v1/models/{_quoted(model)}/versions/{_quoted(version)}"


def _alias_path(model: str, alias: str) -> str:
    return f"/api/v1/models/{_quoted(model)}/aliases/{_quoted(alias)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
