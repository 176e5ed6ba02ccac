"""Workflows that another workflow starts, and that outlive it.

Their ids say what they are about, and Temporal lets one of an id run at a time: so whoever finds one there already
leaves it alone, and nothing is started twice.
"""

from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from hotswap.domain.ids import deployment_workflow_id, retirement_workflow_id
    from hotswap.messages import DEPLOYMENT_MEMO, DeploymentInput, RetirementInput

Handle = workflow.ChildWorkflowHandle[Any, Any]


async def start_child(
    kind: str,
    given: object,
    *,
    workflow_id: str,
    summary: str,
    details: str | None = None,
    memo: Mapping[str, Any] | None = None,
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
) -> Handle | None:
    """Start a workflow that outlives this one; None where one of this id is there already."""
    try:
        return await workflow.start_child_workflow(
            kind,
            given,
            id=workflow_id,
            id_reuse_policy=id_reuse_policy,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            memo=memo,
            static_summary=summary,
            static_details=details,
        )
    except WorkflowAlreadyStartedError:
        return None


async def start_deployment(request: DeploymentInput, *, summary: str, details: str | None = None) -> Handle | None:
    """Start a deployment; None where one of the model is under way in the environment."""
    return await start_child(
        "Deployment",
        request,
        workflow_id=deployment_workflow_id(request.environment, request.model),
        summary=summary,
        details=details,
        memo={DEPLOYMENT_MEMO: request.deployment_id},
    )


async def start_retirement(request: RetirementInput, *, summary: str) -> Handle | None:
    """Start an application's retirement; None where it is being retired already."""
    return await start_child(
        "Retirement", request, workflow_id=retirement_workflow_id(request.application), summary=summary
    )
