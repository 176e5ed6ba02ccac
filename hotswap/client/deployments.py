"""Deployments: start, follow, steer and explain them."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hotswap.client.calls import Call, CallPause, Found, Stream, ask, get, kind_of, post, quoted
from hotswap.client.resources import ClientResource, T, call, stream
from hotswap.client.transport import KEY
from hotswap.schemas.requests import Body, CreateDeployment, Replay, Say, SayApprove, SayGoTo, SayPromote, SayScale
from hotswap.schemas.responses import (
    Accepted,
    AnswerView,
    DeploymentView,
    DryRunView,
    ExplanationView,
    Page,
    ReplayView,
)

DEPLOYMENTS = "/api/v1/deployments"


class Deployments(ClientResource[T]):
    @call
    def start(self, request: CreateDeployment, *, idempotency_key: str | None = None) -> Call[Accepted]:
        """Start a deployment, which goes on by itself. Asked for again under the same key, it is started once."""
        return Call(
            "POST",
            DEPLOYMENTS,
            kind_of(Accepted),
            body=request.to_json(),
            headers={KEY: idempotency_key or str(uuid.uuid4())},
        )

    @call
    def dry_run(self, request: CreateDeployment) -> Call[DryRunView]:
        """Ask what a start would do, and what would refuse it. Nothing is started or written."""
        query = {"dryRun": "true"}
        return Call("POST", DEPLOYMENTS, kind_of(DryRunView), body=request.to_json(), query=query, repeatable=True)

    @call
    def list(
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
    ) -> Call[Page[DeploymentView]]:
        """List deployments, newest first; `status` is one or several.

        Times must have a time zone. `until` is not included.
        """
        wanted = {
            "model": model,
            "version": version,
            "environment": environment,
            "status": status,
            "kind": kind,
            "initiatedBy": initiated_by,
            "since": since,
            "until": until,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return get(Page[DeploymentView], DEPLOYMENTS, wanted)

    @call
    def get(self, deployment_id: str) -> Call[DeploymentView]:
        """Return one deployment as it is now."""
        return _get(deployment_id)

    @call
    def explain(self, deployment_id: str) -> Call[ExplanationView]:
        """Return what was observed, judged and decided in a deployment, in order of time."""
        return get(ExplanationView, f"{_path(deployment_id)}/explain")

    @call
    def replay(self, deployment_id: str, config: Mapping[str, Any] | None = None) -> Call[ReplayView]:
        """Judge a past deployment again; `config` is what of its strategy's configuration shall be otherwise."""
        body = Replay(strategy_config=dict(config or {}))
        return post(ReplayView, f"{_path(deployment_id)}/replay", body, repeatable=True)

    @stream
    def follow(self, deployment_id: str, *, interval: float = 1.0) -> Stream[DeploymentView]:
        """Yield the deployment as it is now and after each change, until it has ended; `interval` is in seconds."""
        last: DeploymentView | None = None
        while last is None or not last.status.is_terminal:
            seen = yield from ask(_get(deployment_id))
            if seen != last:
                yield Found(seen)
            last = seen
            if not seen.status.is_terminal:
                yield CallPause(interval)

    @call
    def approve(self, deployment_id: str, *, reason: str | None = None, step: int | None = None) -> Call[AnswerView]:
        """Approve the start or the step that waits."""
        return _say(deployment_id, "approve", SayApprove(reason=reason, step=step))

    @call
    def reject(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """Refuse the start or the step that waits, which ends the deployment."""
        return _say(deployment_id, "reject", Say(reason=reason))

    @call
    def pause(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """Stay at the present weight, watched for harm."""
        return _say(deployment_id, "pause", Say(reason=reason))

    @call
    def resume(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """End a pause; the present step begins anew."""
        return _say(deployment_id, "resume", Say(reason=reason))

    @call
    def goto(self, deployment_id: str, step: int, *, reason: str | None = None) -> Call[AnswerView]:
        """Continue with this step, counted from 1."""
        return _say(deployment_id, "goto", SayGoTo(reason=reason, step=step))

    @call
    def scale(self, deployment_id: str, replicas: int, *, reason: str | None = None) -> Call[AnswerView]:
        """Set the number of replicas of the active version; refused if the cluster has no room for them."""
        return _say(deployment_id, "scale", SayScale(reason=reason, replicas=replicas))

    @call
    def retry(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """Run the analysis again that holds it; one that ended without success is deployed again."""
        return _say(deployment_id, "retry", Say(reason=reason))

    @call
    def promote(self, deployment_id: str, *, reason: str | None = None, full: bool = False) -> Call[AnswerView]:
        """End the present bake as passed; with `full` go to 100% at once."""
        return _say(deployment_id, "promote", SayPromote(reason=reason, **({"full": True} if full else {})))

    @call
    def abort(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """Take all traffic from the candidate, and end."""
        return _say(deployment_id, "abort", Say(reason=reason))

    @call
    def rollback(self, deployment_id: str, *, reason: str | None = None) -> Call[AnswerView]:
        """Undo it: a running one is aborted; after an active one the version before it is deployed again."""
        return _say(deployment_id, "rollback", Say(reason=reason))


def _get(deployment_id: str) -> Call[DeploymentView]:
    return get(DeploymentView, _path(deployment_id))


def _say(deployment_id: str, verb: str, body: Body) -> Call[AnswerView]:
    return post(AnswerView, f"{_path(deployment_id)}/{verb}", body)


def _path(deployment_id: str) -> str:
    return f"{DEPLOYMENTS}/{quoted(deployment_id)}"
