"""Deployments: start, follow, steer and explain them; freezes, which hold them off."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hotswap.client.asking import deployment_body
from hotswap.client.calls import Calls, quoted, read, spelled
from hotswap.schemas.responses import (
    Accepted,
    AnswerView,
    DeploymentView,
    DryRunView,
    ExplanationView,
    FreezeView,
    Page,
    ReplayView,
)


class Deployments(Calls):
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
        accept_contract_change: bool = False,
        emergency: str | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Start a deployment; without `version` of the newest one that can be deployed.

        `resources` is `{"replicas", "gpus", "cpus"}`, the latter two per replica; with `minReplicas` and `maxReplicas`
        it scales by load. `on_conflict` (`reject`, `queue` or `supersede`) says what becomes of it while another of the
        model is under way; `start_at` has its time zone. A version that takes less than the one that serves, or answers
        otherwise, is refused (`CONTRACT_NARROWED`) without `accept_contract_change`. `emergency` is why it can't wait:
        it goes to 100% without a bake.
        """
        given = deployment_body(
            model,
            version=version,
            environment=environment,
            strategy=strategy,
            config=config,
            resources=resources,
            on_conflict=on_conflict,
            start_at=start_at,
            accept_contract_change=accept_contract_change,
            emergency=emergency,
        )
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return read(Accepted, self._transport.send("POST", "/api/v1/deployments", body=given, headers=headers))

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
        accept_contract_change: bool = False,
        emergency: str | None = None,
    ) -> DryRunView:
        """What `deploy` with the same arguments would do, and what would refuse it; starts and writes nothing."""
        given = deployment_body(
            model,
            version=version,
            environment=environment,
            strategy=strategy,
            config=config,
            resources=resources,
            on_conflict=on_conflict,
            start_at=start_at,
            accept_contract_change=accept_contract_change,
            emergency=emergency,
        )
        query = {"dryRun": "true"}
        answer = self._transport.send("POST", "/api/v1/deployments", body=given, query=query, repeatable=True)
        return read(DryRunView, answer)

    def deployments(
        self,
        *,
        model: str | None = None,
        version: str | None = None,
        environment: str | None = None,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        initiated_by: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Page[DeploymentView]:
        """The newest first; `status` is one or several. Times have their time zone; `until` is not included."""
        wanted = {
            "model": model,
            "version": version,
            "environment": environment,
            "status": status,
            "kind": kind,
            "initiatedBy": initiated_by,
            "since": since.isoformat() if since is not None else None,
            "until": until.isoformat() if until is not None else None,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return read(Page[DeploymentView], self._transport.send("GET", "/api/v1/deployments", query=wanted))

    def deployment(self, deployment_id: str) -> DeploymentView:
        return read(DeploymentView, self._transport.send("GET", f"/api/v1/deployments/{quoted(deployment_id)}"))

    def explain(self, deployment_id: str) -> ExplanationView:
        """Why it is where it is: what was seen, judged and decided, in order of time."""
        path = f"/api/v1/deployments/{quoted(deployment_id)}/explain"
        return read(ExplanationView, self._transport.send("GET", path))

    def replay(self, deployment_id: str, config: Mapping[str, Any] | None = None) -> ReplayView:
        """Judge a past deployment again; `config` is what of its strategy's configuration shall be otherwise."""
        path = f"/api/v1/deployments/{quoted(deployment_id)}/replay"
        said = {"strategyConfig": dict(config or {})}
        return read(ReplayView, self._transport.send("POST", path, body=said, repeatable=True))

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
            "duration": spelled(duration),
            "startsAt": starts_at.isoformat() if starts_at is not None else None,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return read(FreezeView, self._transport.send("POST", "/api/v1/freezes", body=given))

    def freezes(
        self, *, environment: str | None = None, limit: int = 200, cursor: str | None = None
    ) -> Page[FreezeView]:
        """Those in force and those planned."""
        wanted = {"environment": environment, "limit": limit, "cursor": cursor}
        return read(Page[FreezeView], self._transport.send("GET", "/api/v1/freezes", query=wanted))

    def find_freeze(self, freeze_id: str) -> FreezeView:
        """One of them, also when it is over."""
        return read(FreezeView, self._transport.send("GET", f"/api/v1/freezes/{quoted(freeze_id)}"))

    def thaw(self, freeze_id: str) -> FreezeView:
        return read(FreezeView, self._transport.send("DELETE", f"/api/v1/freezes/{quoted(freeze_id)}"))

    def _say(self, deployment_id: str, verb: str, **said: Any) -> AnswerView:
        body = {name: value for name, value in said.items() if value is not None}
        return read(
            AnswerView, self._transport.send("POST", f"/api/v1/deployments/{quoted(deployment_id)}/{verb}", body=body)
        )
