"""The workflows of deployments, as whoever starts and steers one needs them."""

from collections.abc import Collection, Mapping
from typing import Protocol

from hotswap.domain.vocabulary import Environment
from hotswap.messages import Abort, Answer, DeploymentInput, QueueInput, Request


class AlreadyRunning(Exception):
    """Another deployment holds the workflow id; `deployment_id` is None when its run doesn't say which it is."""

    def __init__(self, deployment_id: str | None) -> None:
        super().__init__(deployment_id)
        self.deployment_id = deployment_id


class Ended(Exception):
    """The deployment's workflow is not running (any more)."""


class NoAnswer(Exception):
    """The workflow runs, but no worker took up what was said in time."""


class DeploymentWorkflows(Protocol):
    """Every method raises Unavailable when Temporal doesn't answer."""

    async def start_deployment(self, request: DeploymentInput) -> None:
        """Start the deployment, or find that this very one was started before.

        Raises AlreadyRunning when another one runs, and Unavailable, after which it may or may not have started.
        """

    async def start_queue(self, queued: QueueInput) -> None:
        """Let something wait for the deployment's turn; doing it again changes nothing."""

    async def cancel_queue(self, deployment_id: str) -> None:
        """Let nothing wait for it any more. Raises Ended."""

    async def check_free(self, environment: Environment, model: str) -> None:
        """Check that a deployment could be started now. Raises AlreadyRunning when another one runs."""

    async def ask(self, workflow_id: str, deployment_id: str, verb: str, request: Request) -> Answer:
        """Give a deployment a command, and wait for its answer.

        Raises Ended, NoAnswer, Conflict when the command has no effect, and ValidationFailed when it can't be read.
        """

    async def abort_by_signal(self, workflow_id: str, deployment_id: str, request: Abort) -> None:
        """Record an abort that the next worker to come acts on. Raises Ended."""


class OpenWorkflows(Protocol):
    """The workflows that Temporal has open, and the one that repairs what the reconciler finds."""

    async def open_workflows(self, expected: Collection[str]) -> Mapping[str, str | None]:
        """Return each open deployment workflow, and those of `expected` that are open.

        Each id has the deployment that the workflow works on, None if its memo names none. Raises Unavailable.
        """

    async def reconcile(self) -> list[str] | None:
        """Run the workflow `Reconcile`, and return the ids of the workflows that it started.

        Return None if it takes longer than the caller waits; it goes on. Raises Unavailable.
        """
