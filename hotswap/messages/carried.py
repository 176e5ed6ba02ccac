"""The state of a deployment that its next run begins with, where a run's history has become long.

Every field has a default, so that a worker of another release reads it. Lists are bounded where the state is kept
(`workflows/deployment/context.py`), since Temporal takes 2 MB in one message.
"""

from typing import Annotated

from pydantic import Field

from hotswap.domain.backtest import BacktestReport
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import Requests, Rollout
from hotswap.domain.traffic import Arm
from hotswap.domain.undo import Undo
from hotswap.domain.verbs import START
from hotswap.messages.verbs import Approve
from hotswap.messages.work import Decision, VerifiedWeight
from hotswap.schemas.base import Message


class CarriedState(Message):
    """All that a deployment's workflow knows, but for its input; see `workflows/deployment/state.py`."""

    status: DeploymentStatus = DeploymentStatus.PENDING
    message: str = ""
    backtest: BacktestReport | None = None
    plan: CapacityPlan | None = None
    rollout: Rollout | None = None
    notes: tuple[str, ...] = ()
    unrecorded: tuple[Decision, ...] = ()
    dropped: int = 0
    waits_until: float | None = None

    requests: Requests = Requests()
    approval: Approve | None = None
    approval_trace_id: str | None = None
    abort_trace_id: str | None = None
    gate: int = START

    stable: Arm | None = None
    candidate: Arm | None = None
    verified_weight: int = 0
    first: VerifiedWeight | None = None
    latest: VerifiedWeight | None = None
    beside_stable: dict[str, int] = Field(default_factory=dict)

    undo: tuple[Annotated[Undo, Field(discriminator="kind")], ...] = ()
