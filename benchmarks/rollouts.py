"""The time and the history that a rollout costs: aborts under load, weight changes, a killed worker."""

import itertools
import os
import signal
import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil
from temporalio.api.enums.v1 import EventType

from benchmarks.figure import Figure, percentile
from benchmarks.world import QUICK_CANARY, World
from hotswap.demo.history import weight_changes
from hotswap.schemas.requests import CreateDeployment
from hotswap.stack.supervisor import SETTLED_S
from tests.fixtures.patience import wait_until

ABORTS = 30
KILLS = 5
HALF = {"canaryPercentage": 50, "incrementStep": 50, "monitoringDuration": "PT60S"}


def abort(world: World) -> list[Figure]:
    """Measure from sending Temporal's signal until a client got the candidate's last answer, and the weight changes."""
    seconds, changes = [], []
    with world.under_load() as traffic:
        for _ in range(ABORTS):
            begun, candidate = len(traffic.answers), world.candidate
            accepted = world.stack.api.deployments.start(
                CreateDeployment(model_id=world.active.model, version=candidate, strategy_config=HALF)
            )
            world.reaches(accepted.deployment_id, 50)
            time.sleep(0.5)
            asked_at = time.time()
            world.wait_for(world.temporal.get_workflow_handle(world.workflow_id).signal("abort", {"by": "bench"}))
            run_id = world.ended(accepted.deployment_id).run_id
            answered = [answer.answered_at for answer in traffic.answers[begun:] if answer.version == candidate]
            seconds.append(max(answered) - asked_at)
            changes += world.wait_for(weight_changes(world.temporal, world.workflow_id, run_id))
    under_load = f"{ABORTS} aborts under load"
    set_weights = [change.verified_at - change.asked_at for change in changes if change.activity == "set_weight"]
    return [
        Figure(
            name="abort signal to the candidate's last answer, p50",
            measured=percentile(seconds, 50) * 1000,
            bar=150,
            unit="ms",
            beside=under_load,
        ),
        Figure(
            name="abort signal to the candidate's last answer, p99",
            measured=percentile(seconds, 99) * 1000,
            bar=400,
            unit="ms",
            beside=f"{under_load}, the slowest {max(seconds) * 1000:.0f} ms",
        ),
        Figure(
            name="weight change to verified, p50",
            measured=percentile(set_weights, 50) * 1000,
            bar=100,
            unit="ms",
            beside=f"{len(set_weights)} changes, each from its activity's scheduling to its completion in the history",
        ),
    ]


def events(world: World) -> list[Figure]:
    """Count the events from one weight to the next in the history of an undisturbed rollout."""
    with world.under_load():
        run_id = world.deploy(world.candidate, QUICK_CANARY).run_id
    # The first one publishes the candidate at 0, for testers: no step of the canary's.
    _, *scheduled = (event.event_id for event in world.history(run_id) if _schedules_weight(event))
    steps = [after - before for before, after in itertools.pairwise(scheduled)]
    return [
        Figure(
            name="history events a canary step",
            measured=max(steps),
            bar=15,
            unit="",
            beside=f"the most of {len(steps)} steps, from one weight to the next",
        )
    ]


def killed_worker(world: World) -> list[Figure]:
    """Measure from kill -9 in the middle of a bake until the next weight is scheduled, with the rest of the bake."""
    seconds = []
    with world.under_load():
        for _ in range(KILLS):
            _let_settle(world)
            accepted = world.stack.api.deployments.start(
                CreateDeployment(model_id=world.active.model, version=world.candidate, strategy_config=QUICK_CANARY)
            )
            world.reaches(accepted.deployment_id, QUICK_CANARY["canaryPercentage"])
            killed_at = time.time()
            os.kill(world.stack.pid("worker"), signal.SIGKILL)
            run_id = world.ended(accepted.deployment_id).run_id
            seconds.append(next(_weights_scheduled(world, run_id, after=killed_at)) - killed_at)
    return [
        Figure(
            name="worker killed to the workflow's next action, p50",
            measured=statistics.median(seconds),
            bar=4,
            unit="s",
            beside=f"{KILLS} kills in a bake of 2 s, the slowest {max(seconds):.1f} s",
        )
    ]


def _let_settle(world: World) -> None:
    """Wait until the worker has lived for a while: as in a real accident, it is then started again at once."""
    worker = psutil.Process(world.stack.pid("worker"))
    wait_until(lambda: time.time() - worker.create_time() > SETTLED_S, seconds=2 * SETTLED_S, what="a settled worker")


def _weights_scheduled(world: World, run_id: str | None, *, after: float) -> Iterator[float]:
    for event in world.history(run_id):
        at = event.event_time.seconds + event.event_time.nanos / 1e9
        if at > after and _schedules_weight(event):
            yield at


def _schedules_weight(event: Any) -> bool:
    if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        return False
    name: str = event.activity_task_scheduled_event_attributes.activity_type.name
    return name == "set_weight"
