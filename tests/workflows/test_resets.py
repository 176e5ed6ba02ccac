"""`temporal workflow reset`: one that has ended changes nothing, and one that runs goes on or back, from any point.

Real Temporal, real PostgreSQL; only Ray, the proxies and the artifacts are fakes.
"""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowHandle

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.traffic import Route
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.messages import DeploymentOutcome
from hotswap.schemas.strategy import CanaryConfig, StepConfig
from tests.fixtures.patience import patience, until
from tests.workflows.test_reconcile import Site, site  # noqa: F401  a fixture
from workflows import run_limits

AT_ONCE = CanaryConfig(steps=(StepConfig(weight=100, bake=timedelta(0), analysis=False),))

BEFORE = ("open_deployment", "take_slot", "validate_version", "plan_capacity", "start_replicas", "set_weight")
"""The run begins again with this activity, the first of its name."""


async def reset(
    at: Site, handle: WorkflowHandle[Any, Any], *, before: str, run_id: str | None = None
) -> WorkflowHandle[Any, DeploymentOutcome]:
    """Reset this run (the first) to the workflow task that first scheduled this activity, and return the new run."""
    run_id = run_id or handle.result_run_id
    assert run_id is not None
    run = at.client.get_workflow_handle(handle.id, run_id=run_id)

    async def first() -> int | None:
        """Return the task that scheduled it, which may be about to."""
        for event in (await run.fetch_history()).events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                if scheduled.activity_type.name == before:
                    return scheduled.workflow_task_completed_event_id
        return None

    point = await until(first, what=before)
    made = await at.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=at.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=run_id),
            reason="a test",
            request_id=str(uuid.uuid4()),
            workflow_task_finish_event_id=point,
        ),
        timeout=patience(seconds=20),
    )
    return at.client.get_workflow_handle(handle.id, run_id=made.run_id, result_type=DeploymentOutcome)


def arms(route: Route) -> tuple[str | None, str | None, int]:
    stable, candidate = (arm.version if arm is not None else None for arm in (route.stable, route.candidate))
    return stable, candidate, route.candidate_weight


async def test_a_reset_of_an_active_deployment_changes_nothing(site: Site) -> None:  # noqa: F811
    deployment, handle = await site.deploy("2.0.0", config=AT_ONCE)
    assert (await handle.result()).status == S.ACTIVE
    row, route, running = await site.row(deployment), await site.route(), site.cluster.desired
    audited = await site.actions(deployment)
    for before in (*BEFORE, "make_active", "record_transition"):
        outcome = await (await reset(site, handle, before=before)).result()
        assert (outcome.status, outcome.message) == (S.ACTIVE, "it was Active already when this run began"), before
        assert await site.row(deployment) == row, before
        assert (await site.route(), site.cluster.desired) == (route, running), before
        assert await site.actions(deployment) == audited, before


async def test_a_reset_of_a_deployment_that_went_back_changes_nothing(site: Site) -> None:  # noqa: F811
    deployment, handle = await site.deploy("2.0.0")
    await site.until(deployment, lambda row: row.verified_weight == 1_000)
    await handle.signal("abort", {"by": "ann"})
    assert (await handle.result()).status == S.ROLLED_BACK
    row, route, running = await site.row(deployment), await site.route(), site.cluster.desired
    for before in (*BEFORE, "withdraw_candidate", "retire_replicas"):
        outcome = await (await reset(site, handle, before=before)).result()
        assert outcome.status == S.ROLLED_BACK, before
        assert await site.row(deployment) == row, before
        assert (await site.route(), site.cluster.desired) == (route, running), before


@pytest.mark.parametrize("before", ["open_deployment", "take_slot", "start_replicas", "watch"])
async def test_a_reset_of_a_running_deployment_takes_back_what_it_had_done(site: Site, before: str) -> None:  # noqa: F811
    deployment, handle = await site.deploy("2.0.0")
    await site.until(deployment, lambda row: row.verified_weight == 1_000)
    again = await reset(site, handle, before=before)
    await again.signal("abort", {"by": "ann"})
    assert (await again.result()).status == S.ROLLED_BACK
    assert arms(await site.route()) == ("1.0.0", None, 0)
    assert [spec.version for spec in site.cluster.specs] == ["1.0.0"]
    row = await site.row(deployment)
    assert (row.status, row.verified_weight, row.run_id) == (S.ROLLED_BACK, 0, again.run_id)


async def test_so_it_does_when_nobody_says_a_word(site: Site) -> None:  # noqa: F811
    deployment, handle = await site.deploy("2.0.0")
    await site.until(deployment, lambda row: row.verified_weight == 1_000)
    again = await reset(site, handle, before="validate_version")
    outcome = await again.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.WORKFLOW_LOST)
    assert "was reset to a point before" in outcome.message
    assert arms(await site.route()) == ("1.0.0", None, 0)
    assert (await site.row(deployment)).status == S.ROLLED_BACK


async def continued(at: Site, deployment: str, handle: WorkflowHandle[Any, Any]) -> str:
    """Give it commands until it has continued as a new run, and return that run's id once it watches its bake."""
    newest = at.client.get_workflow_handle(handle.id)

    async def has_continued() -> str | None:
        await newest.signal("resume", {"by": "ann"})
        run_id = (await newest.describe()).run_id
        return run_id if run_id != handle.result_run_id else None

    async def is_open() -> bool:
        watching = [each.activity_type.name for each in (await newest.describe()).raw_description.pending_activities]
        return (await at.row(deployment)).run_id == run_id and watching == ["watch"]

    run_id: str = await until(has_continued, every=0.5, what="its next run")
    await until(is_open, what="its watch")
    return run_id


async def test_a_run_that_continues_another_has_the_row_and_is_not_taken_for_lost(
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_limits, "MOST_EVENTS", 80)
    deployment, handle = await site.deploy("2.0.0")
    await site.until(deployment, lambda row: row.verified_weight == 1_000)
    run_id, route = await continued(site, deployment, handle), await site.route()
    assert await site.reconcile() == []
    assert (await site.row(deployment)).status == S.PROGRESSING
    assert (await site.row(deployment)).run_id == run_id
    assert await site.route() == route, "it has set no weight again"
    await site.client.get_workflow_handle(handle.id).signal("abort", {"by": "ann"})
    outcome = await handle.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    row = await site.row(deployment)
    assert (row.status, row.verified_weight) == (S.ROLLED_BACK, 0)
    assert (await site.actions(deployment)).count("status Progressing") == 1


async def test_a_reset_of_a_run_that_continues_another_goes_back(
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it was given by the run before it is older than what there is."""
    monkeypatch.setattr(run_limits, "MOST_EVENTS", 80)
    deployment, handle = await site.deploy("2.0.0")
    await site.until(deployment, lambda row: row.verified_weight == 1_000)
    again = await reset(site, handle, before="open_deployment", run_id=await continued(site, deployment, handle))
    outcome = await again.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.WORKFLOW_LOST)
    assert arms(await site.route()) == ("1.0.0", None, 0)
    assert (await site.row(deployment)).run_id == again.run_id


async def test_recovery_of_a_lost_rollback_keeps_the_warm_version(
    site: Site,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, handle = await site.deploy("2.0.0", config=AT_ONCE)
    assert (await handle.result()).status == S.ACTIVE
    started = asyncio.Event()

    async def stuck(*_: Any) -> None:
        started.set()
        raise ConnectionError("Ray is away")

    with monkeypatch.context() as ray:
        ray.setattr(site.cluster, "applications", stuck)
        rollback, handle = await site.deploy("1.0.0", kind=DeploymentKind.ROLLBACK)
        await site.until(rollback, lambda row: row.status == S.DEPLOYING)
        await started.wait()
        await site.lose(handle)
    await site.reconcile()
    await site.until(rollback, lambda row: row.status.is_terminal)
    assert (await site.row(rollback)).reason == Reason.WORKFLOW_LOST
    assert {spec.version for spec in site.cluster.specs} == {"1.0.0", "2.0.0"}, "1.0.0 is still kept warm"
