"""Temporal schedules of workflows that run by the clock; each worker that starts makes sure of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from hotswap.domain.monitoring import AlertKind
from hotswap.messages import TASK_QUEUE


@dataclass(frozen=True, slots=True)
class Timed:
    """A scheduled workflow, with its input and interval."""

    workflow: str
    every: timedelta
    inputs: tuple[str, ...] = ()


SCHEDULES: Mapping[str, Timed] = {
    "reconcile": Timed("Reconcile", timedelta(minutes=1)),
    "monitor-accuracy": Timed("Monitor", timedelta(minutes=1), (AlertKind.ACCURACY,)),
    "monitor-drift": Timed("Monitor", timedelta(hours=1), (AlertKind.DRIFT,)),
}
"""The schedules by their ids, which are the workflows' as well."""


async def ensure_schedules(client: Client, *, task_queue: str = TASK_QUEUE) -> None:
    """Make the schedules, or bring those that are there up to date; one that a person paused stays paused."""
    for name, timed in SCHEDULES.items():
        await _ensure(client, name, timed, task_queue)


async def _ensure(client: Client, name: str, timed: Timed, task_queue: str) -> None:
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(timed.workflow, args=timed.inputs, id=name, task_queue=task_queue),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timed.every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timed.every),
    )

    def up_to_date(present: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule.state = present.description.schedule.state
        return ScheduleUpdate(schedule)

    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(name).update(up_to_date)
