"""Proof from Temporal's history of a deployment: when each weight was set and verified, and by which worker."""

from dataclasses import dataclass

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from hotswap.messages import SetWeight
from hotswap.process.temporal import DATA_CONVERTER


@dataclass(frozen=True, slots=True)
class WeightChange:
    """One change of weight. `share` is the candidate's, in hundredths of a percent; times are Unix time in seconds."""

    activity: str
    share: int
    asked_at: float
    verified_at: float
    worker: str


async def weight_changes(client: Client, workflow_id: str, run_id: str | None) -> list[WeightChange]:
    """Return the completed changes, in their order."""
    inputs: dict[int, tuple[str, int, float]] = {}
    workers: dict[int, str] = {}
    changes: list[WeightChange] = []
    async for event in client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events():
        seconds = event.event_time.seconds + event.event_time.nanos / 1e9
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            name = scheduled.activity_type.name
            if name == "set_weight":
                (asked,) = await DATA_CONVERTER.decode(list(scheduled.input.payloads), [SetWeight])
                inputs[event.event_id] = (name, asked.share, seconds)
            elif name == "withdraw_candidate":
                inputs[event.event_id] = (name, 0, seconds)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            started = event.activity_task_started_event_attributes
            workers[started.scheduled_event_id] = started.identity
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            scheduled_id = event.activity_task_completed_event_attributes.scheduled_event_id
            if scheduled_id in inputs:
                name, share, asked_at = inputs[scheduled_id]
                changes.append(WeightChange(name, share, asked_at, seconds, workers[scheduled_id]))
    return changes
