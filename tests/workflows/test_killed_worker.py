"""A worker that is killed with SIGKILL in the middle of a backtest: the next one asks anew, and the rollout goes on."""

import asyncio
import sys
from contextlib import AsyncExitStack

from hotswap.domain.lifecycle import DeploymentStatus as S
from tests.fixtures.patience import patient
from tests.workflows.conftest import Stage, ports_of
from tests.workflows.test_backtest import trying
from tests.workflows.test_deployment import CANDIDATE, FORWARD
from tests.workflows.world import STABLE, rollout_brief
from workflows.worker import workers


async def test_a_worker_that_is_killed_while_it_asks_is_taken_over(stage: Stage) -> None:
    async with trying(stage, attended=False) as rollout:
        queue = (await rollout.handle.describe()).task_queue
        address, namespace = stage.client.service_client.config.target_host, stage.client.namespace
        program = (sys.executable, "-m", "tests.workflows.killed_worker", address, namespace, queue)
        victim = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert victim.stdout is not None
        try:
            assert await asyncio.wait_for(victim.stdout.readline(), patient(60)) == b"asks\n"
        finally:
            victim.kill()
            await victim.wait()
        # What it has done is outside of it, and there for the next one.
        rollout.world.statuses = list(FORWARD[:-1])
        rollout.world.serve(rollout_brief().application_spec(warmup_timeout_seconds=120))
        async with AsyncExitStack() as stack:
            for worker in workers(stage.client, ports_of(rollout.world), task_queue=queue):
                await stack.enter_async_context(worker)
            outcome = await asyncio.wait_for(rollout.handle.result(), patient(60))
    world = rollout.world
    assert outcome.status is S.ACTIVE
    (report,) = world.backtests
    assert (report.asked, report.refusals.of, report.disagreements.hits) == (40, 40, 0)
    for application in (CANDIDATE, STABLE.application):
        asked = {request_id for name, request_id in world.asked_again if name == application}
        assert asked == {each.request_id for each in world.recorded}
    assert [kind for kind, _, _ in world.decisions].count("backtest") == 1, "it is told once"
    assert world.weights == [5_000, 10_000, 10_000]
