"""The API's side of Temporal: start workflows, speak to the one that is meant, and say what came of it.

Invariants: a deployment is started at most once under its workflow id, which is the lock; a person's command reaches
the deployment that it names and never a later one that took over the same workflow id (each run carries its deployment
in its memo, which a reset keeps); every call has a time-out, so that a missing worker costs a caller seconds and never
a hanging connection. No exception of Temporal's leaves this file: it is a domain error or an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from hotswap.deployments.workflows import AlreadyRunning, Ended, NoAnswer
from hotswap.domain.errors import BY_CODE, Conflict, FieldProblem, HotSwapError, Unavailable, VersionNotFound
from hotswap.domain.ids import (
    deployment_workflow_id,
    queue_workflow_id,
    registration_workflow_id,
    scaling_workflow_id,
)
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import Environment
from hotswap.messages import (
    DEPLOYMENT_MEMO,
    TASK_QUEUE,
    Abort,
    Answer,
    DeploymentInput,
    QueueInput,
    RegistrationInput,
    Request,
    ScalingInput,
    ScalingOutcome,
)
from hotswap.registry.workflows import registration_path
from hotswap.schemas.responses import RegistrationStatus

CALL_TIMEOUT = timedelta(seconds=5)
UPDATE_TIMEOUT = timedelta(seconds=8)
ABORT_TIMEOUT = timedelta(seconds=3)
"""Shorter, since an abort that nobody answers is left as a signal: saying it twice is saying it once."""

REGISTRATION_WAIT = timedelta(seconds=10)

OPEN_DEPLOYMENTS = "WorkflowType = 'Deployment' AND ExecutionStatus = 'Running'"
RECONCILE_BY_HAND = "reconcile/by-hand"

logger = logging.getLogger(__name__)

Sent = TypeVar("Sent")
Returned = TypeVar("Returned")


class Orchestration:
    """Implements the workflows' ports: `DeploymentWorkflows`, `RegistrationWorkflows` and `OpenWorkflows`."""

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str = TASK_QUEUE,
        update_timeout: timedelta = UPDATE_TIMEOUT,
        registration_wait: timedelta = REGISTRATION_WAIT,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._update_timeout = update_timeout
        self._registration_wait = registration_wait

    # --- registration -------------------------------------------------------------------------------------------------

    async def register(self, request: RegistrationInput) -> VersionRef | None:
        """Start the registration and wait for its end; None when that takes longer.

        Raises Conflict when this version is being registered, Unavailable, and what the registration failed with.
        """
        wanted = request.registration
        async with _temporal():
            try:
                handle = await self._client.start_workflow(
                    "Registration",
                    request,
                    id=registration_workflow_id(wanted.name, wanted.version),
                    task_queue=self._task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    static_summary=f"register {wanted.name} {wanted.version}, for {wanted.requested_by}",
                    result_type=VersionRef,
                    rpc_timeout=CALL_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                raise Conflict(
                    f"{wanted.name} {wanted.version} is being registered already; "
                    f"GET {registration_path(wanted.name, wanted.version)} says how far it is"
                ) from None
            return await self._result(handle)

    async def registration(self, model: str, version: str) -> RegistrationStatus | HotSwapError:
        """Return how far the last registration of this version is, or the error that it failed with.

        Raises VersionNotFound if there never was one (or Temporal has forgotten it), and Unavailable.
        """
        handle = self._client.get_workflow_handle(registration_workflow_id(model, version))
        async with _temporal():
            try:
                found = await handle.describe(rpc_timeout=CALL_TIMEOUT)
                if found.status is WorkflowExecutionStatus.RUNNING:
                    return RegistrationStatus.RUNNING
                await handle.result(rpc_timeout=CALL_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                raise VersionNotFound(f"there was no registration of {model} {version}") from None
            except WorkflowFailureError as error:
                return _domain_error(error)
        return RegistrationStatus.COMPLETED

    # --- deployments --------------------------------------------------------------------------------------------------

    async def start_deployment(self, request: DeploymentInput) -> None:
        """Start the deployment, or find that this very one was started before.

        Raises AlreadyRunning when another one runs, and Unavailable, after which it may or may not have started.
        """
        workflow_id = deployment_workflow_id(request.environment, request.model)
        async with _temporal():
            try:
                await self._client.start_workflow(
                    "Deployment",
                    request,
                    id=workflow_id,
                    task_queue=self._task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    memo={DEPLOYMENT_MEMO: request.deployment_id},
                    static_summary=f"{request.kind} of {request.model} {request.version} to {request.environment}",
                    static_details=f"Deployment `{request.deployment_id}`, asked for by {request.initiated_by}.",
                    rpc_timeout=CALL_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                running = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=CALL_TIMEOUT)
                deployment_id = (await running.memo()).get(DEPLOYMENT_MEMO)
                if deployment_id != request.deployment_id:
                    raise AlreadyRunning(deployment_id) from None

    async def start_queue(self, queued: QueueInput) -> None:
        """Let something wait for the deployment's turn; doing it again changes nothing. Raises Unavailable."""
        request = queued.request
        async with _temporal():
            await self._client.start_workflow(
                "Queue",
                queued,
                id=queue_workflow_id(request.deployment_id),
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                memo={DEPLOYMENT_MEMO: request.deployment_id},
                static_summary=f"{request.model} {request.version} to {request.environment} waits for its turn",
                static_details=f"Deployment `{request.deployment_id}`, asked for by {request.initiated_by}.",
                rpc_timeout=CALL_TIMEOUT,
            )

    async def cancel_queue(self, deployment_id: str) -> None:
        """Cancel the workflow that waits to start this deployment. Raises Ended and Unavailable."""
        async with _temporal():
            await self._client.get_workflow_handle(queue_workflow_id(deployment_id)).cancel(rpc_timeout=CALL_TIMEOUT)

    async def check_free(self, environment: Environment, model: str) -> None:
        """Check that a deployment could be started now. Raises AlreadyRunning when another runs, and Unavailable."""
        handle = self._client.get_workflow_handle(deployment_workflow_id(environment, model))
        async with _temporal():
            try:
                found = await handle.describe(rpc_timeout=CALL_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return
            if found.status is WorkflowExecutionStatus.RUNNING:
                raise AlreadyRunning((await found.memo()).get(DEPLOYMENT_MEMO))

    async def scale(self, request: ScalingInput) -> ScalingOutcome | None:
        """Give what serves so many replicas, and wait until they are ready; None when that takes longer.

        A word before this one that is still being done is given up. Raises what it failed with, and Unavailable.
        """
        async with _temporal():
            handle = await self._client.start_workflow(
                "Scaling",
                request,
                id=scaling_workflow_id(request.application),
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=f"{request.replicas} replicas of {request.application}, for {request.by}",
                result_type=ScalingOutcome,
                rpc_timeout=CALL_TIMEOUT,
            )
            return await self._result(handle)

    async def ask(self, workflow_id: str, deployment_id: str, verb: str, request: Request) -> Answer:
        """Give a deployment a command as an update, and wait for its answer.

        Raises Ended, NoAnswer, Unavailable, Conflict when the command has no effect, and ValidationFailed when it can't
        be read.
        """
        patience = min(self._update_timeout, ABORT_TIMEOUT) if isinstance(request, Abort) else self._update_timeout

        async def update(run: WorkflowHandle[Any, Any]) -> Answer:
            try:
                answer: Answer = await run.execute_update(verb, request, result_type=Answer, rpc_timeout=patience)
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                raise NoAnswer from None
            except WorkflowUpdateFailedError as error:
                if _application_error(error) is None:  # the run ended before it could answer
                    raise Ended from None
                raise _domain_error(error) from error
            return answer

        return await self._to_open_run(workflow_id, deployment_id, update)

    async def abort_by_signal(self, workflow_id: str, deployment_id: str, request: Abort) -> None:
        """Record an abort that the next worker to come acts on. Raises Ended and Unavailable."""

        async def signal(run: WorkflowHandle[Any, Any]) -> None:
            await run.signal("abort", request, rpc_timeout=CALL_TIMEOUT)

        await self._to_open_run(workflow_id, deployment_id, signal)

    async def _to_open_run(
        self, workflow_id: str, deployment_id: str, send: Callable[[WorkflowHandle[Any, Any]], Awaitable[Sent]]
    ) -> Sent:
        """Send this to the deployment's open run; where that has continued as new meanwhile, to the one after it.

        Raises Ended where no run of the deployment is open.
        """
        async with _temporal():
            run = await self._running(workflow_id, deployment_id)
        while True:
            try:
                async with _temporal():
                    return await send(run)
            except Ended:
                ended = run.run_id
                async with _temporal():
                    run = await self._running(workflow_id, deployment_id)
                if run.run_id == ended:
                    raise

    async def _running(self, workflow_id: str, deployment_id: str) -> WorkflowHandle[Any, Any]:
        """Return the workflow run of this deployment, if one is open; the server is asked, so no worker is needed."""
        found = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=CALL_TIMEOUT)
        if found.status is not WorkflowExecutionStatus.RUNNING:
            raise Ended
        if (await found.memo()).get(DEPLOYMENT_MEMO) != deployment_id:
            raise Ended
        return self._client.get_workflow_handle(workflow_id, run_id=found.run_id)

    # --- reconciliation -----------------------------------------------------------------------------------------------

    async def open_workflows(self, expected: Collection[str]) -> dict[str, str | None]:
        """Return each open deployment workflow and each open one of `expected`, with the deployment in its memo.

        The list of the open ones may be late by seconds, so each is looked at by itself. Raises Unavailable.
        """
        found: dict[str, str | None] = {}
        async with _temporal():
            listed = self._client.list_workflows(OPEN_DEPLOYMENTS, rpc_timeout=CALL_TIMEOUT)
            for workflow_id in sorted({each.id async for each in listed} | set(expected)):
                try:
                    seen = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=CALL_TIMEOUT)
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    continue
                if seen.status is WorkflowExecutionStatus.RUNNING:
                    found[workflow_id] = (await seen.memo()).get(DEPLOYMENT_MEMO)
        return found

    async def reconcile(self) -> list[str] | None:
        """Run `Reconcile` and return the workflows that it started; None if that takes longer. Raises Unavailable.

        Who asks while one runs that was asked for gets the answer of that one.
        """
        async with _temporal():
            handle = await self._client.start_workflow(
                "Reconcile",
                id=RECONCILE_BY_HAND,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary="repair what the reconciler finds",
                result_type=list[str],
                rpc_timeout=CALL_TIMEOUT,
            )
            return await self._result(handle)

    async def _result(self, handle: WorkflowHandle[Any, Returned]) -> Returned | None:
        """Return the result, None if it takes longer than a caller waits. Raises what the workflow failed with."""
        try:
            return await asyncio.wait_for(handle.result(), self._registration_wait.total_seconds())
        except TimeoutError:
            return None
        except WorkflowFailureError as error:
            raise _domain_error(error) from error

    async def check(self) -> None:
        """Check that Temporal answers. Raises Unavailable."""
        async with _temporal():
            await self._client.count_workflows("WorkflowId = 'readiness'", rpc_timeout=timedelta(seconds=2))


@asynccontextmanager
async def _temporal() -> AsyncIterator[None]:
    """Tell Temporal's own errors in the domain's words."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Ended from error
        raise _away(error) from error
    except RuntimeError as error:  # how a lazy client says that it could not connect
        raise _away(error) from error


def _away(error: Exception) -> Unavailable:
    logger.warning("temporal does not answer", extra={"error": str(error)})
    return Unavailable("Temporal doesn't answer, so nothing can be started or steered; inference goes on without it")


def _application_error(error: BaseException) -> ApplicationError | None:
    """Return the first error below this one that an activity or a workflow raised on purpose."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError):
            return cause
        cause = (
            cause.cause if isinstance(cause, FailureError | WorkflowFailureError | WorkflowUpdateFailedError) else None
        )
    return None


def _domain_error(error: WorkflowFailureError | WorkflowUpdateFailedError) -> HotSwapError:
    """Return the domain error that a workflow failed with, with its field problems; another error is told vaguely."""
    cause = _application_error(error)
    kind = BY_CODE.get(cause.type or "") if cause is not None else None
    if cause is None or kind is None:
        logger.error("a workflow failed", exc_info=error)
        return HotSwapError("it failed, but not because of the request; the Temporal Web UI has the details")
    details = cause.details[0] if cause.details and isinstance(cause.details[0], list) else []
    problems = [
        FieldProblem(str(each["field"]), str(each["message"]))
        for each in details
        if isinstance(each, dict) and {"field", "message"} <= each.keys()
    ]
    return kind(cause.message, *problems)
