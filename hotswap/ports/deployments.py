"""The rows of deployments that people read and wait for."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from hotswap.domain.deployments import (
    ANY_DEPLOYMENT,
    ActiveDeployment,
    Deployment,
    NewDeployment,
    Served,
    WantedDeployments,
)
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.promotion import ActivePeriod
from hotswap.domain.queueing import QueueEntry, QueuePosition, QueueState
from hotswap.domain.reconciliation import RecordedState
from hotswap.domain.registry import DeploymentBrief, Unfinished, VersionRef
from hotswap.domain.traffic import TrafficChange, TrafficPlan
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment


class ActivationHistory(Protocol):
    """The active versions of each environment, as a promotion policy needs them."""

    async def active_period(self, model: str, environment: Environment) -> ActivePeriod:
        """Return what is active in the environment, and since when, by the database's clock.

        The model is given by its name or id. A model that doesn't exist has no active version.
        """

    async def serving(self, model: str, environment: Environment) -> ActiveDeployment | None:
        """Return what is active now; None where nothing is yet."""


class ActivationHistoryReader(ActivationHistory, Protocol):
    """The active versions of each environment, now and in the past."""

    async def history(
        self,
        model: str,
        *,
        environment: Environment | None = None,
        at: datetime | None = None,
        window: Window = FIRST,
    ) -> Listing[Served]:
        """Return what has served, the newest first; with `at`, what served then. Raises ModelNotFound."""


class Deployments(Protocol):
    """Deployments as rows: what people and the API read."""

    async def open(self, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        """Bind the row to this workflow run, give the run its traffic epoch, and say what to work with.

        Temporal lets one run work on a model and environment, so any other deployment that is open there by its row has
        lost its workflow: it is closed, with what became of it. A deployment that has ended is only read. Raises
        DeploymentNotFound.
        """

    async def unfinished(self) -> list[Unfinished]:
        """Return the deployments that have not ended, without those whose workflow the API is about to start.

        Queued deployments are left out: they have no workflow to lose yet (`DeploymentQueue.called`).
        """

    async def transition(
        self,
        deployment_id: str,
        status: DeploymentStatus,
        *,
        message: str,
        reason: str | None,
        actor: str,
        run_id: str | None = None,
    ) -> None:
        """Move the status along the transition table, with an audit event in the same transaction.

        `completed_at`, `is_rolled_back` and `rolled_back_at` follow from the status. `run_id` is the workflow run that
        writes. Raises StaleFence when a newer run may write, DeploymentMoved when the deployment has ended or is bound
        to another run, IllegalTransition, and Conflict when another deployment of the model is under way in the
        environment.
        """

    async def record_weight(
        self,
        deployment_id: str,
        *,
        verified_weight: int,
        progress: int | None,
        message: str,
        run_id: str | None = None,
        sequence: int | None = None,
    ) -> None:
        """Store the weight that the proxies confirmed (hundredths of a percent).

        `progress` is how far the rollout is, in percent; None leaves it as it was. The deployment that is active beside
        this one gets the remaining weight, and any other deployment gets none. For a deployment that has ended nothing
        is stored. `run_id` and `sequence` are those of the change that was confirmed: raises StaleFence when the route
        has been changed since.
        """

    async def record_decision(
        self,
        deployment_id: str,
        *,
        decision_id: str,
        kind: str,
        actor: str,
        message: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Store an audit event that changes no status, such as a message that could not be read; each id once."""

    async def check_proof(self, deployment_id: str, *, step: int, by: str, proof: str | None) -> None:
        """Raise Forbidden unless the API has recorded, under this key, that `by` approved this deployment.

        One record proves one step.
        """

    async def approve(
        self,
        deployment_id: str,
        *,
        step: int,
        by: str,
        claimed: bool,
        reason: str | None = None,
        proof: str | None = None,
    ) -> None:
        """Note the approval of this step, stamp the candidate version's approved by and at, and audit it.

        Raises Conflict when the version is deprecated or archived.
        """

    async def make_active(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Promote by relabel in one transaction: the registry's pointer, the versions' status and the route.

        The deployment that it replaces has ended as Active and stays so; its reason and message say that it was
        replaced.

        Raises StaleFence.
        """

    async def make_inactive(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Undo `make_active` in one transaction: pointer and version status as before, and the route as told.

        A deployment that was never made active changes nothing but the route. Raises StaleFence.
        """


class DeploymentReader(Protocol):
    """Deployments on record, as whoever starts, steers and explains them reads them."""

    async def deployment(self, deployment_id: str) -> Deployment:
        """Return a deployment with its verdicts, and where it waits. Raises DeploymentNotFound."""

    async def deployments(
        self, wanted: WantedDeployments = ANY_DEPLOYMENT, window: Window = FIRST
    ) -> Listing[Deployment]:
        """List deployments, the newest first, without their verdicts."""

    async def running_deployment(self, environment: Environment, model: str) -> Deployment | None:
        """Return the deployment that is under way, if there is one: the newest that has not ended."""


class RefusedCommands(Protocol):
    """The record of commands that had no effect. Their workflow refused them, and keeps nothing of them."""

    async def record_refusal(self, deployment_id: str, *, by: str, verb: str, message: str) -> None:
        """Put on record that somebody gave this command, and why it had no effect."""


class Admissions(Protocol):
    """Lets a deployment in by writing its row, in one transaction with what may refuse it."""

    async def known(self, new: NewDeployment) -> Deployment | None:
        """Return what the same caller has asked for before under this idempotency key; None without a key."""

    async def check(self, new: NewDeployment, version: VersionRef) -> None:
        """Check that `admit` would let it in now. Raises Conflict, and ValidationFailed for a start that is past."""

    async def admit(
        self,
        new: NewDeployment,
        version: VersionRef,
        *,
        deployment_id: str,
        queued_request: Mapping[str, Any] | None = None,
    ) -> Deployment:
        """Insert the row; `queued_request` (`QueueInput`) starts it when its turn comes.

        Answers what was asked for under the same key where another request with it was quicker. Raises Conflict where
        the environment is frozen, others are in line or the version is out of use, and ValidationFailed for a start
        that is past.
        """

    async def withdraw(self, deployment_id: str) -> None:
        """Delete the row of one whose workflow was refused; nobody has been told of it yet."""


class ConcurrencySlots(Protocol):
    """A few deployments may run at once; the others wait for a slot, which is free again when its holder ends."""

    async def places(self, deployment_ids: Collection[str]) -> dict[str, QueuePosition | None]:
        """Give the free slots to the deployments that are next, and return these deployments' positions.

        None means that there is nothing to wait for. The order is that of the tickets, but no deployment waits for one
        whose owner is gone or whose environment is frozen. A deployment that was approved and still waits is shown as
        Pending again.
        """


class DeploymentQueue(Protocol):
    """Queued deployments: one of a model may run in an environment at a time, and the others wait for their turn."""

    async def states(self, deployment_ids: Collection[str]) -> dict[str, QueueState | None]:
        """Return the queue states of these deployments; None is one that is no longer queued."""

    async def make_way(self, deployment_id: str) -> tuple[QueueEntry, ...]:
        """End the deployments that wait before one that supersedes them; return the running ones to abort."""

    async def leave(
        self, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
    ) -> bool:
        """End a deployment that is still queued. Return False, and change nothing, when it isn't."""

    async def called(self) -> list[dict[str, Any]]:
        """Return the input (`QueueInput`) of the queued deployments whose turn has come but that nothing started."""


class QueueNotifications(Protocol):
    """PostgreSQL's NOTIFY: something has changed that others may wait for. They read the rows to see what it was."""

    def listening(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `heard` inside the block at each notification, and whenever notifications may have been lost."""


class ReconciliationRecords(Protocol):
    """The rows that the reconciler compares with what is, and the audit log of its repairs."""

    async def recorded(self) -> RecordedState:
        """Return what should be, from one snapshot."""

    async def note_repair(self, *, by: str, reason: str | None, findings: list[dict[str, Any]]) -> None:
        """Record that somebody asks for the repair of these findings."""
