"""An abort is recorded whatever becomes of its update; any other command says what happened to it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from hotswap.deployments.steer import Steering
from hotswap.deployments.workflows import DeploymentWorkflows, Ended, NoAnswer
from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import Deployment
from hotswap.domain.errors import AnswerLost, Conflict, HotSwapError, Unavailable, ValidationFailed
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.messages import Abort, Answer, Pause, Request
from hotswap.ports import DeploymentQueue, DeploymentReader

DEPLOYMENT = Deployment(
    deployment_id="dep-1",
    model_id="model-1",
    model="fraud",
    version="2.0.0",
    previous_version=None,
    kind=DeploymentKind.ROLLOUT,
    strategy=Strategy.CANARY,
    environment=Environment.PRODUCTION,
    strategy_config={},
    resources=ReplicaResources(),
    status=DeploymentStatus.PROGRESSING,
    workflow_id="deployment/Production/fraud",
    run_id="run",
    initiated_by="ann",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@dataclass
class Workflows:
    """A deployment's workflow whose updates end in one way; signals go through unless `away`."""

    outcome: Answer | Exception
    away: bool = False
    signals: list[Request] = field(default_factory=list)
    on_record: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def ask(self, workflow_id: str, deployment_id: str, verb: str, request: Request) -> Answer:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def abort_by_signal(self, workflow_id: str, deployment_id: str, request: Abort) -> None:
        if self.away:
            raise Unavailable("Temporal doesn't answer")
        self.signals.append(request)

    async def record_refusal(self, deployment_id: str, *, by: str, verb: str, message: str) -> None:
        self.on_record.append((deployment_id, by, verb, message))


def steering(workflows: Workflows) -> Steering:
    return Steering(
        cast("DeploymentReader", None), cast("DeploymentQueue", None), cast("DeploymentWorkflows", workflows), workflows
    )


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (NoAnswer(), "no worker answers"),
        (Unavailable("2,000 updates are the most that a run takes"), "2,000 updates are the most"),
        (AnswerLost("the connection broke"), "the connection broke"),
        (ValidationFailed("it can't be read"), "it can't be read"),
        (Conflict("it is not called so"), "it is not called so"),
        (HotSwapError("it failed"), "it failed"),
    ],
)
async def test_an_abort_is_left_as_a_signal_whatever_its_update_fails_with(problem: Exception, told: str) -> None:
    workflows, request = Workflows(problem), Abort(by="ann", reason="it does harm")
    answer = await steering(workflows).abort(DEPLOYMENT, request)
    assert workflows.signals == [request]
    assert not answer.confirmed
    assert told in answer.message
    assert "the abort is recorded" in answer.message


async def test_an_abort_that_is_answered_needs_no_signal() -> None:
    workflows = Workflows(Answer(accepted=True, message="goes back", status=DeploymentStatus.PROGRESSING))
    answer = await steering(workflows).abort(DEPLOYMENT, Abort(by="ann"))
    assert (answer.confirmed, answer.message, workflows.signals) == (True, "goes back", [])


async def test_an_abort_of_what_has_ended_is_no_signal() -> None:
    workflows = Workflows(Ended())
    with pytest.raises(Ended):
        await steering(workflows).abort(DEPLOYMENT, Abort(by="ann"))
    assert workflows.signals == []


async def test_an_abort_that_neither_way_takes_is_not_told_as_recorded() -> None:
    with pytest.raises(Unavailable):
        await steering(Workflows(Unavailable("away"), away=True)).abort(DEPLOYMENT, Abort(by="ann"))


async def test_another_command_is_never_left_as_a_signal() -> None:
    workflows = Workflows(NoAnswer())
    with pytest.raises(Unavailable, match="look before saying it again"):
        await steering(workflows).say(DEPLOYMENT, "pause", Pause(by="ann"))
    assert workflows.signals == []


async def test_a_refused_command_is_put_on_record_with_who_gave_it_and_answered_as_it_was_refused() -> None:
    workflows = Workflows(Conflict("dep-1 is Paused, and it is paused already; resume goes on"))
    with pytest.raises(Conflict, match=r"^dep-1 is Paused, and it is paused already; resume goes on$"):
        await steering(workflows).say(DEPLOYMENT, "pause", Pause(by="ann", via="api", reason="late labels"))
    message = "dep-1 is Paused, and it is paused already; resume goes on: late labels"
    assert workflows.on_record == [("dep-1", "ann", "pause", message)]


async def test_a_command_that_another_one_has_overtaken_is_answered_alike_and_on_record_by_its_workflow() -> None:
    workflows = Workflows(Answer(accepted=False, message="it isn't paused", status=DeploymentStatus.PROGRESSING))
    with pytest.raises(Conflict, match=r"^dep-1 is Progressing, and it isn't paused$"):
        await steering(workflows).say(DEPLOYMENT, "resume", Pause(by="ann"))
    assert workflows.on_record == []
