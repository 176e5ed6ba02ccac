"""Runbook 2 of the operations guide: the accuracy of what serves drops. Typed by bash, on a real stack, under traffic.

What the guide leaves as a comment is typed as `docs/operations.md` has it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.monitoring import AlertKind
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import AlertView
from tests.fixtures.gate import Gate
from tests.fixtures.outcomes import asked_and_told
from tests.fixtures.patience import wait_until
from tests.fixtures.shell import Shell
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import ended

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

CANARY = {
    "canaryPercentage": 50,
    "incrementStep": 50,
    "monitoringDuration": "PT2S",
    "bakeDeadline": "PT60S",
    "minimumRequests": 20,
    "rollbackThresholds": {"latencyIncrease": 100},
}
NOTICED_WITHIN = 300

DETECT = "curl http://localhost:5000/api/v1/models/model-123/metrics"
VERIFY = "hotswap alerts --model model-123 --json"
DRIFT = "hotswap drift model-123 --now --json"
ROLL_BACK = "curl -X POST http://localhost:5000/api/v1/deployments/{deployment-id}/rollback"
INVESTIGATE = "hotswap explain {deployment-id} --json"


@contextmanager
def serving(
    stack: Stack, register: Callable[[str, str], None], trained: TrainedModels, model: str
) -> Iterator[tuple[str, threading.Event]]:
    """2.0.0 in place of 1.0.0, asked and told of all the time: its deployment, and what changes the world."""
    for version in ("1.0.0", "2.0.0"):
        register(model, version)
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=model, version="1.0.0")).deployment_id)
    assert first.status is S.ACTIVE, first.message
    with asked_and_told(stack, model, trained.requests) as changed:
        second = ended(
            stack,
            stack.api.deployments.start(
                CreateDeployment(model_id=model, version="2.0.0", strategy_config=CANARY)
            ).deployment_id,
        )
        assert second.status is S.ACTIVE, second.message
        yield second.deployment_id, changed


def alert_of(stack: Stack, model: str) -> AlertView:
    """The one that is open, once there is one."""

    def opened() -> list[AlertView]:
        return list(stack.api.monitoring.alerts(model=model, is_open=True).items)

    wait_until(lambda: bool(opened()), seconds=NOTICED_WITHIN, what="an alert")
    (only,) = opened()
    return only


def told_of(told: Gate, model: str) -> set[object]:
    return {event["type"] for _, event in told.asked if event["subject"] == model}


def test_a_drop_in_accuracy_is_handled_as_the_runbook_says(
    stack: Stack, register: Callable[[str, str], None], trained: TrainedModels, tmp_path: Path, told: Gate
) -> None:
    shell, model = Shell(stack, tmp_path), "ageing"
    with serving(stack, register, trained, model) as (deployment_id, changed):
        model_id = stack.api.models.get(model).model_id
        assert shell.type(DETECT.replace("model-123", model_id))["accuracy"] > 0.9
        changed.set()
        noticed = alert_of(stack, model)

        seen = shell.type(DETECT.replace("model-123", model_id))
        assert seen["accuracy"] < 0.9
        (verified,) = shell.type(VERIFY.replace("model-123", model_id))["items"]
        assert (verified["alertId"], verified["kind"]) == (noticed.alert_id, AlertKind.ACCURACY)
        assert (verified["version"], verified["deploymentId"]) == ("2.0.0", deployment_id)
        assert shell.type(DRIFT.replace("model-123", model_id))["version"] == "2.0.0"
        answer = shell.type(ROLL_BACK.replace("{deployment-id}", deployment_id))
        back = ended(stack, answer["deploymentId"])
        assert (back.status, back.kind, back.version) == (S.ACTIVE, DeploymentKind.ROLLBACK, "1.0.0")
        told_why = shell.type(INVESTIGATE.replace("{deployment-id}", deployment_id))
        assert told_why["happenings"]
    wait_until(
        lambda: told_of(told, model) == {"hotswap.alert.raised", "hotswap.retraining.requested"},
        what="the event that asks for training",
    )


@pytest.mark.soak
def test_a_policy_takes_it_back_by_itself(
    stack: Stack, register: Callable[[str, str], None], trained: TrainedModels
) -> None:
    model = "ageing-alone"
    with serving(stack, register, trained, model) as (_, changed):
        hotswap("monitoring", model, "--on-degraded", "rollback", data=stack.data)
        changed.set()
        noticed = alert_of(stack, model)
        assert noticed.rolls_back
        wait_until(
            lambda: stack.api.models.get(model).active_version == "1.0.0", seconds=150, what="the version before"
        )
    (over,) = stack.api.monitoring.alerts(model=model).items
    assert over.rollback_id is not None
    went = stack.api.deployments.get(over.rollback_id)
    assert (went.kind, went.initiated_by) == (DeploymentKind.ROLLBACK, "monitor")
    wait_until(
        lambda: not stack.api.monitoring.alerts(model=model, is_open=True).items,
        seconds=150,
        what="the end of the alert",
    )
