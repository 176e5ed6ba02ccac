"""Record histories that `test_histories.py` replays: `python -m tests.replay.record SCENARIO...`.

Each is made by the real workflow on a real Temporal server, over fakes of everything outside. It goes into
`tests/replay/unreleased`, which gets the name of the release with it. A folder of a release is never recorded again:
deployments that began on that release may be under way. So record the scenarios of what is new, such as of a workflow
command behind `workflow.patched`.
"""

import asyncio
import json
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.queueing import QueueEntry, QueueState
from hotswap.domain.traffic import Arm
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput, QueueInput
from hotswap.schemas.strategy import CanaryConfig
from tests.fixtures.temporal import temporal_server
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.test_backtest import differing, refusing, trying
from tests.workflows.test_capacity import of, spec, stage_of
from tests.workflows.world import STABLE, rollout_brief

FOLDERS = Path(__file__).parent
UNRELEASED = FOLDERS / "unreleased"
LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}


async def promoted(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout() as rollout:
        return await _closed(rollout)


async def first_of_its_model(stage: Stage) -> WorkflowHandle[Any, Any]:
    """The committed history is of the time before first versions were watched, and stays so."""
    config = {"firstVersion": {"monitoringDuration": "PT0S"}}
    async with stage.rollout(brief=rollout_brief(stable=None), config=config) as rollout:
        return await _closed(rollout)


async def watched_first_version(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(brief=rollout_brief(stable=None)) as rollout:
        return await _closed(rollout)


async def failed_first_version(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(brief=rollout_brief(stable=None), config=LONG, candidate_errors=0.5) as rollout:
        return await _closed(rollout)


async def breached(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(config=LONG, candidate_errors=0.5) as rollout:
        return await _closed(rollout)


async def aborted_after_approval(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(config=LONG, approval=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        await rollout.handle.signal("approve", {"by": "ann"})
        await rollout.until(lambda world: world.weights == [5_000])
        await rollout.handle.execute_update("abort", {"by": "ann"})
        return await _closed(rollout)


async def cancelled_twice(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(config=LONG, withdraw_fails=2) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        await rollout.handle.cancel()
        await asyncio.sleep(0.3)
        await rollout.handle.cancel()
        return await _closed(rollout)


async def failed_to_start(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(replicas_fail="no such module") as rollout:
        return await _closed(rollout)


async def queued_behind_what_it_superseded(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(config=LONG) as rollout:
        world = rollout.world
        await rollout.until(lambda world: world.weights == [5_000])
        under_way = replace(
            _entry("dep-before", 1), is_queued=False, workflow_id=rollout.handle.id, run_id=rollout.handle.result_run_id
        )
        mine = replace(_entry("dep-candidate", 2), supersedes=True)
        world.queue_state = QueueState(mine, under_way=(under_way,), overtakes=(under_way,))
        handle = await _queued(stage, rollout, QueueInput(request=_request(), supersedes=True))
        await _closed(rollout)
        world.statuses, world.queue_state = [S.PENDING], QueueState(mine)
        world.notify()
        await handle.result()
        await stage.client.get_workflow_handle("deployment/Production/fraud").result()
        return handle


async def aborted_before_its_time_to_start(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with stage.rollout(brief=rollout_brief(stable=None)) as rollout:
        await _closed(rollout)
        later = datetime.now(UTC) + timedelta(hours=1)
        handle = await _queued(stage, rollout, QueueInput(request=_request(), start_at=later))
        await handle.signal("abort", {"by": "ann", "reason": "not this year"})
        await handle.result()
        return handle


async def backtested(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with trying(stage) as rollout:
        return await _closed(rollout)


async def failed_its_backtest(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with trying(stage, candidate_replies=refusing) as rollout:
        return await _closed(rollout)


async def approved_after_its_backtest(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with trying(stage, candidate_replies=differing) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        await rollout.handle.execute_update("approve", {"by": "ann"})
        return await _closed(rollout)


async def extended(stage: Stage) -> WorkflowHandle[Any, Any]:
    config = {"monitoringDuration": "PT2S", "bakeDeadline": "PT60S"}
    async with stage.rollout(config=config, candidate_errors=0.025) as rollout:
        return await _closed(rollout)


async def emergency(stage: Stage) -> WorkflowHandle[Any, Any]:
    async with trying(stage, candidate_replies=refusing, emergency="checkout is down") as rollout:
        return await _closed(rollout)


async def shed_after_an_abort(stage: Stage) -> WorkflowHandle[Any, Any]:
    """Four replicas on five GPUs: what the stable's two can't hold is shed until it has its own back."""
    return await _aborted_at_three_quarters(stage)


async def held_back_after_an_abort(stage: Stage) -> WorkflowHandle[Any, Any]:
    return await _aborted_at_three_quarters(stage, onAbort="hold")


async def _aborted_at_three_quarters(stage: Stage, **config: Any) -> WorkflowHandle[Any, Any]:
    config = {**LONG, "canaryPercentage": 75, "incrementStep": 25, **config}
    async with stage_of(stage, of(4), gpus=5, config=config) as rollout:
        await rollout.until(lambda world: world.weights[-1:] == [7_500])
        await rollout.handle.signal("abort", {"by": "ann", "reason": "errors at checkout"})
        return await _closed(rollout)


async def went_back_to_a_warm_version(stage: Stage) -> WorkflowHandle[Any, Any]:
    warm = Arm("Production-fraud-warm", "2.0.0", "dep-before")
    brief = replace(rollout_brief(), resources=of(4), kind=DeploymentKind.ROLLBACK, warm=warm)
    serving = [spec(STABLE, of(4)), spec(warm, of(1))]
    async with stage.rollout(brief=brief, serving=serving, gpus=5, config=LONG) as rollout:
        return await _closed(rollout)


async def took_back_what_a_lost_run_left(stage: Stage) -> WorkflowHandle[Any, Any]:
    brief = replace(rollout_brief(), is_split=True, is_weighted=True, left_behind="Production-fraud-lost")
    async with stage.rollout(brief=brief) as rollout:
        return await _closed(rollout)


async def steered(stage: Stage) -> WorkflowHandle[Any, Any]:
    """By words of every kind: with and without effect, malformed and unknown."""
    async with stage.rollout(config={**LONG, "steps": [{"weight": 10}, {"weight": 50, "pause": True}]}) as rollout:
        handle = rollout.handle
        await rollout.bakes_at(1_000)
        await handle.execute_update("pause", {"by": "ann"})
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        for verb, said in (
            ("approve", {"by": "ann"}),
            ("retry", {"by": "ann"}),
            ("scale", {"by": "ann", "replicas": 2}),
        ):
            await handle.signal(verb, said)
        await handle.signal("resume", {"by": 7})
        await handle.signal("resum", {"by": "ann"})
        await handle.signal("resume", {"by": "ann"})
        await rollout.until(lambda world: world.statuses[-1] is S.PROGRESSING)
        await handle.execute_update("goto", {"by": "ann", "step": 2})
        await rollout.bakes_at(1_000, 1_000, 5_000)
        await handle.execute_update("promote", {"by": "ann"})
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        await handle.signal("rollback")
        return await _closed(rollout)


def _entry(deployment_id: str, ticket: int) -> QueueEntry:
    return QueueEntry(deployment_id, ticket, DeploymentKind.ROLLOUT, Environment.PRODUCTION, "fraud", is_queued=True)


def _request() -> DeploymentInput:
    return DeploymentInput(
        deployment_id="dep-candidate",
        environment=Environment.PRODUCTION,
        model="fraud",
        version="2.0.0",
        initiated_by="ann",
        config=CanaryConfig(canary_percentage=100, monitoring_duration=timedelta(seconds=1), minimum_requests=1),
    )


async def _queued(stage: Stage, rollout: Rollout, queued: QueueInput) -> WorkflowHandle[Any, Any]:
    """On the queue of the rollout's worker."""
    task_queue = (await rollout.handle.describe()).task_queue
    return await stage.client.start_workflow("Queue", queued, id=f"queue/{task_queue}", task_queue=task_queue)


SCENARIOS: tuple[Callable[[Stage], Awaitable[WorkflowHandle[Any, Any]]], ...] = (
    promoted,
    first_of_its_model,
    watched_first_version,
    failed_first_version,
    breached,
    aborted_after_approval,
    cancelled_twice,
    failed_to_start,
    queued_behind_what_it_superseded,
    aborted_before_its_time_to_start,
    backtested,
    failed_its_backtest,
    approved_after_its_backtest,
    extended,
    emergency,
    shed_after_an_abort,
    held_back_after_an_abort,
    went_back_to_a_warm_version,
    took_back_what_a_lost_run_left,
    steered,
)


async def _closed(rollout: Rollout) -> WorkflowHandle[Any, Any]:
    while (await rollout.handle.describe()).close_time is None:
        await asyncio.sleep(0.1)
    return rollout.handle


def anonymous(history: str) -> str:
    """Without the name and the paths of the machine that it was made on."""

    def without_traces(found: dict[str, Any]) -> dict[str, Any]:
        return {name: "" if name == "stackTrace" else value for name, value in found.items()}

    text = history.replace(socket.gethostname(), "localhost")
    return json.dumps(json.loads(text, object_hook=without_traces), separators=(",", ":"))


async def main() -> None:
    if unknown := set(sys.argv[1:]) - {scenario.__name__ for scenario in SCENARIOS}:
        sys.exit(f"there are no such scenarios: {', '.join(sorted(unknown))}")
    UNRELEASED.mkdir(exist_ok=True)
    async with temporal_server(secrets.token_hex(6)) as client:
        for scenario in SCENARIOS:
            if scenario.__name__ not in sys.argv[1:]:
                continue
            handle = await scenario(Stage(client))
            history = await handle.fetch_history()
            (UNRELEASED / f"{scenario.__name__}.json").write_text(anonymous(history.to_json()) + "\n")
            print(scenario.__name__)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
