"""A command reaches the open run of the deployment that it names, also where a run has just continued as a new one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.orchestration import Orchestration
from hotswap.deployments.workflows import Ended
from hotswap.domain.errors import Conflict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.messages import DEPLOYMENT_MEMO, Abort, Answer, Pause

ID = "deployment/Production/fraud"
NOT_FOUND = RPCError("workflow execution already completed", RPCStatusCode.NOT_FOUND, b"")
ENDED_BEFORE_ITS_ANSWER = WorkflowUpdateFailedError(RuntimeError("the workflow completed before the update"))


@dataclass
class Execution:
    """What the server says of a workflow id: its newest run, and whose that is."""

    run_id: str = "run-1"
    deployment_id: str = "dep-1"
    status: WorkflowExecutionStatus = WorkflowExecutionStatus.RUNNING

    async def memo(self) -> dict[str, str]:
        return {DEPLOYMENT_MEMO: self.deployment_id}


@dataclass
class Server:
    """A workflow id whose first run ends when it is told anything; `after` says what there is then."""

    after: Callable[[], Execution]
    error: Exception = field(default_factory=lambda: NOT_FOUND)
    newest: Execution = field(default_factory=Execution)
    told: list[tuple[str | None, str]] = field(default_factory=list)

    def get_workflow_handle(self, workflow_id: str, *, run_id: str | None = None) -> "Handle":
        assert workflow_id == ID
        return Handle(self, run_id)

    def take(self, run_id: str | None, what: str) -> None:
        self.told.append((run_id, what))
        if run_id == "run-1":
            self.newest = self.after()
            raise self.error


@dataclass
class Handle:
    server: Server
    run_id: str | None

    async def describe(self, **_: Any) -> Execution:
        return self.server.newest

    async def execute_update(self, verb: str, *_: Any, **__: Any) -> Answer:
        self.server.take(self.run_id, verb)
        return Answer(accepted=True, message="done", status=DeploymentStatus.PROGRESSING)

    async def signal(self, name: str, *_: Any, **__: Any) -> None:
        self.server.take(self.run_id, name)


def orchestration(server: Server) -> Orchestration:
    return Orchestration(cast("Client", server))


@pytest.mark.parametrize("error", [NOT_FOUND, ENDED_BEFORE_ITS_ANSWER])
async def test_a_command_follows_the_deployment_to_its_next_run(error: Exception) -> None:
    server = Server(lambda: Execution("run-2"), error)
    answer = await orchestration(server).ask(ID, "dep-1", "pause", Pause(by="ann"))
    assert answer.accepted
    assert server.told == [("run-1", "pause"), ("run-2", "pause")]


async def test_so_does_an_abort_by_signal() -> None:
    server = Server(lambda: Execution("run-2"))
    await orchestration(server).abort_by_signal(ID, "dep-1", Abort(by="ann"))
    assert server.told == [("run-1", "abort"), ("run-2", "abort")]


@pytest.mark.parametrize(
    "after",
    [
        Execution("run-1", status=WorkflowExecutionStatus.COMPLETED),
        Execution("run-1"),
        Execution("run-2", deployment_id="dep-2"),
    ],
)
async def test_a_command_never_reaches_another_deployment_or_one_that_has_ended(after: Execution) -> None:
    server = Server(lambda: after)
    with pytest.raises(Ended):
        await orchestration(server).abort_by_signal(ID, "dep-1", Abort(by="ann"))
    assert server.told == [("run-1", "abort")]


async def test_what_a_validator_refuses_is_a_conflict_with_its_own_message() -> None:
    refusal = ApplicationError("dep-1 is Paused, and it is paused already", type=Conflict.code)
    server = Server(Execution, WorkflowUpdateFailedError(refusal))
    with pytest.raises(Conflict, match=r"^dep-1 is Paused, and it is paused already$"):
        await orchestration(server).ask(ID, "dep-1", "pause", Pause(by="ann"))
