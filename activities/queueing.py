"""Waiting for a slot, which limits how many deployments run, and for a turn: one of a model runs at a time.

A wait may take days and costs no history: it is one activity that heartbeats, and its heartbeat says its position in
line. It holds nothing but its place, which is its row's ticket, so a killed worker doesn't lose it.
"""

import asyncio

from temporalio import activity

from activities.heartbeating import heartbeat_note, heartbeating
from activities.shared_poll import SharedPoll
from hotswap.domain.queueing import QueueEntry, QueuePosition, QueueState
from hotswap.messages import AwaitTurn, LeaveQueue, QueueAction, QueueDecision, Run
from hotswap.ports import ConcurrencySlots, DeploymentQueue, QueueNotifications

CLOSING_SECONDS = 0.2
"""A deployment has ended by its row a moment before its workflow has closed, which is what lets the next one start."""


class QueueActivities:
    def __init__(
        self, slots: ConcurrencySlots, queue: DeploymentQueue, queue_notifications: QueueNotifications
    ) -> None:
        self._queue = queue
        self._for_slots: SharedPoll[QueuePosition | None] = SharedPoll(queue_notifications, slots.places)
        self._states: SharedPoll[QueueState | None] = SharedPoll(queue_notifications, queue.states)

    @activity.defn
    @heartbeating
    async def take_slot(self, deployment_id: str) -> None:
        """Return when the deployment may run; it keeps its slot until it ends."""

        def has_slot(place: QueuePosition | None) -> bool:
            heartbeat_note(place.message if place is not None else "")
            return place is None

        await self._for_slots.wait(deployment_id, until=has_slot)

    @activity.defn
    @heartbeating
    async def await_turn(self, waiting: AwaitTurn) -> QueueDecision:
        """Return when the workflow must act: its turn has come, or it has to make other deployments end."""

        def has_to_act(state: QueueState | None) -> bool:
            if state is None or state.is_called:
                return True
            heartbeat_note(state.place.message)
            return bool(_to_abort(state.overtakes, waiting)) or any(each.is_queued for each in state.overtakes)

        state = await self._states.wait(waiting.deployment_id, until=has_to_act)
        if state is None:
            return QueueDecision(call=QueueAction.NOTHING)
        if state.is_called:
            await asyncio.sleep(CLOSING_SECONDS)
            return QueueDecision(call=QueueAction.START)
        others = _to_abort(await self._queue.make_way(waiting.deployment_id), waiting)
        return QueueDecision(call=QueueAction.ABORT_OTHERS, others=others)

    @activity.defn
    @heartbeating
    async def leave_queue(self, leaving: LeaveQueue) -> bool:
        """End a deployment that never began. Return False when it has begun."""
        return await self._queue.leave(
            leaving.deployment_id,
            leaving.status,
            reason=leaving.reason,
            message=leaving.message,
            actor=leaving.actor,
        )


def _to_abort(overtaken: tuple[QueueEntry, ...], waiting: AwaitTurn) -> tuple[Run, ...]:
    """Return the runs that were not told to abort yet. A run that is just being started is told once it has started."""
    return tuple(
        Run(deployment_id=each.deployment_id, workflow_id=each.workflow_id, run_id=each.run_id)
        for each in overtaken
        if not each.is_queued and each.run_id is not None and each.run_id not in waiting.aborted
    )
