"""A request's trace id and reason on their way through Temporal, so that what comes of it in a worker names them too.

They travel in headers beside the inputs, where no message has to know of them: from whoever starts a workflow or speaks
to it, to its activities, its children and what it signals. So the audit log and the workers' logs lead from a traffic
change in the night to the request that asked for the deployment. What a schedule starts has none. A header that isn't
decent is none either: anybody who may speak to Temporal can write one.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from temporalio import client, worker
from temporalio.api.common.v1 import Payload
from temporalio.worker import WorkflowInboundInterceptor, WorkflowOutboundInterceptor

from hotswap.telemetry.logs import reason, trace_id

CARRIED = {
    "hotswap-trace-id": (trace_id, re.compile(r"[A-Za-z0-9._:-]{1,128}")),
    "hotswap-reason": (reason, re.compile(r"[^\x00-\x1f\x7f]{1,2000}")),
}
"""The variable of each header, and the form that is accepted there."""

Headers = Mapping[str, Payload]


class Propagation(client.Interceptor, worker.Interceptor):
    """Interceptors for a client, which its workers take over."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _FromClient(super().intercept_client(next))

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _ToActivity(super().intercept_activity(next))

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,
    ) -> type[WorkflowInboundInterceptor]:
        return _ToWorkflow


class _FromClient(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        input.headers = _sent(input.headers)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        input.headers = _sent(input.headers)
        await super().signal_workflow(input)

    async def start_workflow_update(
        self,
        input: client.StartWorkflowUpdateInput,
    ) -> client.WorkflowUpdateHandle[Any]:
        input.headers = _sent(input.headers)
        return await super().start_workflow_update(input)


class _ToWorkflow(WorkflowInboundInterceptor):
    """A workflow's run and each message to it are tasks of their own, so that none sees another's."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_FromWorkflow(outbound))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        _take(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        _take(input.headers)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        _take(input.headers)
        return await super().handle_update_handler(input)


class _FromWorkflow(WorkflowOutboundInterceptor):
    def start_activity(self, input: worker.StartActivityInput) -> Any:
        input.headers = _sent(input.headers)
        return super().start_activity(input)

    async def start_child_workflow(self, input: worker.StartChildWorkflowInput) -> Any:
        input.headers = _sent(input.headers)
        return await super().start_child_workflow(input)

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:
        input.headers = _sent(input.headers)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        input.headers = _sent(input.headers)
        super().continue_as_new(input)


class _ToActivity(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        _take(input.headers)
        return await super().execute_activity(input)


def _sent(headers: Headers) -> Headers:
    told = {name: said for name, (variable, _) in CARRIED.items() if (said := variable.get()) is not None}
    plain = {"encoding": b"binary/plain"}
    return {**headers, **{name: Payload(metadata=plain, data=said.encode()) for name, said in told.items()}}


def _take(headers: Headers) -> None:
    """Read the headers for the task that calls this, and for whatever it starts."""
    for name, (variable, decent) in CARRIED.items():
        payload = headers.get(name)
        said = payload.data.decode(errors="replace") if payload is not None else ""
        variable.set(said if decent.fullmatch(said) else None)
