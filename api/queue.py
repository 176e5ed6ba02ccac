"""What people say to a deployment that waits for its turn: it can leave the line, and anything else comes too early.

It has no workflow that would answer, so PostgreSQL does: its row is locked against the workflow that may be opening it
at the same moment, and so it either ends here or is under way and answers for itself.
"""

from contextlib import suppress

from api.context import Parts
from api.orchestration import Ended
from hotswap.domain.errors import Conflict, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.verdict import Reason
from hotswap.messages import Abort
from hotswap.persistence.deployments.rows import DeploymentRow
from hotswap.schemas.responses import AnswerView


def too_early(row: DeploymentRow, verb: str) -> Conflict:
    deployment_id = row.deployment.deployment_id
    where = row.place.message if row.place is not None else "waits for its turn"
    return Conflict(
        f"{deployment_id} {where}; there is nothing to {verb} yet, and `hotswap abort {deployment_id}` takes it "
        "out of the line"
    )


async def leave_line(parts: Parts, row: DeploymentRow, said: Abort) -> AnswerView | None:
    """End it before it began; None when it has begun meanwhile."""
    deployment_id = row.deployment.deployment_id
    why = f": {said.reason}" if said.reason else ""
    left = await parts.turns.leave(
        deployment_id,
        DeploymentStatus.CANCELLED,
        reason=Reason.ROLLBACK_REQUESTED if said.rollback else Reason.ABORTED,
        message=f"taken out of the line by {said.actor} before its turn came{why}",
        actor=said.actor,
    )
    if not left:
        return None
    with suppress(Ended, Unavailable):  # it would find out by itself
        await parts.orchestration.cancel_queue(deployment_id)
    return AnswerView(
        deployment_id=deployment_id,
        status=DeploymentStatus.CANCELLED,
        message="it has left the line, and will not start",
        workflow_id=row.deployment.workflow_id,
    )
