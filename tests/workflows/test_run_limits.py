"""Nothing that callers do uses up a limit that an abort needs: a refused update costs nothing, a long run continues.

A run's limit is lowered to some dozen events, so that it continues often; one test for each of Temporal's own limits is
a soak. Every run of a chain is replayed, as in all tests here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.queueing import QueueEntry, QueueState
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput, DeploymentOutcome, QueueInput
from tests.fixtures.patience import patience, patient, scaled, until
from tests.workflows.conftest import Rollout, Stage
from workflows import run_limits

LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}
FOR_HOURS = {"monitoringDuration": "PT1H", "bakeDeadline": "PT2H"}
SHORT_RUN = 80


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_limits, "MOST_EVENTS", SHORT_RUN)


async def length(rollout: Rollout) -> int:
    return (await rollout.handle.describe()).history_length


async def has_continued(rollout: Rollout) -> bool:
    return (await rollout.handle.describe()).run_id != rollout.handle.result_run_id


async def ended(rollout: Rollout) -> DeploymentOutcome:
    return await asyncio.wait_for(rollout.handle.result(), patient(60))


def assert_rolled_back(rollout: Rollout, outcome: DeploymentOutcome, *, opened: int) -> None:
    """It has ended by an abort; each run had an epoch of its own, and the last one has written last."""
    world = rollout.world
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert world.weights[-1] == 0
    assert world.applications.keys() == set(), "the candidate's replicas are gone"
    assert sorted(world.epochs.values()) == list(range(1, opened + 1))
    assert world.route is not None
    assert world.route.fence.epoch == opened
    assert world.statuses[-2:] == [S.ROLLING_BACK, S.ROLLED_BACK]


async def test_a_refused_update_leaves_no_event(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        before = await length(rollout)
        for verb, said in (
            ("approve", {"by": "ann"}),
            ("resume", {"by": "ann"}),
            ("scale", {"by": "ann", "replicas": 3}),
            ("goto", {"by": "ann", "step": 99}),
            ("goto", {"by": 7}),
            ("approv", {"by": "ann"}),
        ) * 3:
            await rollout.refusal(verb, **said)
        assert await length(rollout) == before
        assert (await rollout.handle.execute_update("abort", {"by": "ann"}))["accepted"]
        outcome = await ended(rollout)
    assert outcome.reason is Reason.ABORTED
    assert [kind for kind, _, _ in rollout.world.decisions if kind != "backtest"] == ["capacity plan", "abort"]


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("way", ["update", "signal"])
async def test_any_number_of_commands_leaves_room_for_an_abort(stage: Stage, way: str) -> None:
    async def say(verb: str) -> None:
        if way == "update":
            assert (await rollout.handle.execute_update(verb, {"by": "ann"}))["accepted"]
        else:
            await rollout.handle.signal(verb, {"by": "ann"})

    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        for _ in range(8):
            await say("pause")
            await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
            await say("resume")
            await rollout.until(lambda world: world.statuses[-1] is S.PROGRESSING)
        assert await has_continued(rollout)
        await say("abort")
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert len(runs) >= 3
    assert max(len(run.events) for run in runs[:-1]) < SHORT_RUN + 40
    assert_rolled_back(rollout, outcome, opened=len(runs))
    said = [kind for kind, _, _ in rollout.world.decisions if kind in ("pause", "resume", "abort")]
    assert said == ["pause", "resume"] * 8 + ["abort"], "each is on record once"


@pytest.mark.usefixtures("short_runs")
async def test_a_bake_goes_on_in_the_next_run_as_if_nothing_had_been(stage: Stage) -> None:
    steps = [{"weight": 20, "bake": scaled("PT3S")}, {"weight": 100, "bake": "PT1S"}]
    async with stage.rollout(config={"steps": steps}) as rollout:
        await rollout.bakes_at(2_000)
        for number in range(12):
            await rollout.handle.signal("retry", {"by": f"ann-{number}"})
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    world = rollout.world
    assert len(runs) >= 2
    assert outcome.status is S.ACTIVE
    assert world.weights == [2_000, 10_000, 10_000], "no weight was set a second time"
    begun = {bake.begun_at for bake, _ in world.observations if bake.step == 0}
    assert len(begun) == 1, "one bake, though two watches"
    assert world.active == "dep-candidate"
    refused = [actor for kind, actor, _ in world.decisions if kind == "retry"]
    assert refused == [f"ann-{number} (claimed)" for number in range(12)], "carried, and on record once"


@pytest.mark.usefixtures("short_runs")
async def test_an_abort_at_the_very_moment_of_the_change_is_never_lost(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        said = [rollout.handle.signal("resume", {"by": "ann"}) for _ in range(40)]
        await asyncio.gather(*said[:20], rollout.handle.signal("abort", {"by": "eve"}), *said[20:])
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert_rolled_back(rollout, outcome, opened=len(runs))


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("way", ["update", "signal"])
async def test_an_abort_finds_the_run_that_is_just_beginning(stage: Stage, way: str) -> None:
    """It comes while the next run opens the deployment, before it has acted on anything."""
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        rollout.world.held_at = S.PROGRESSING
        for _ in range(40):
            await rollout.handle.signal("resume", {"by": "ann"})
        await asyncio.wait_for(rollout.world.reached.wait(), patient(30))
        assert await has_continued(rollout)
        if way == "update":
            assert (await rollout.handle.execute_update("abort", {"by": "ann"}))["accepted"]
        else:
            await rollout.handle.signal("abort", {"by": "ann"})
        rollout.world.held_at = None
        rollout.world.released.set()
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert_rolled_back(rollout, outcome, opened=len(runs))


@pytest.mark.usefixtures("short_runs")
async def test_a_wait_for_an_approval_goes_on_with_its_own_deadline(stage: Stage) -> None:
    async with stage.rollout(approval=True, config={"approvalDeadline": "PT5S"}) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        began = asyncio.get_running_loop().time()
        for _ in range(30):
            await rollout.handle.signal("resume", {"by": "ann"})
        outcome = await ended(rollout)
        waited = asyncio.get_running_loop().time() - began
        assert await has_continued(rollout)
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert waited < 1.8 * patient(5)
    assert rollout.world.statuses == [S.PENDING, S.AWAITING_APPROVAL, S.FAILED]


@pytest.mark.usefixtures("short_runs")
async def test_an_approval_that_comes_in_a_later_run_lets_it_go_on(stage: Stage) -> None:
    async with stage.rollout(approval=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        for _ in range(30):
            await rollout.handle.signal("resume", {"by": "ann"})
        await rollout.until(lambda world: len(world.epochs) > 1)
        assert await has_continued(rollout)
        assert (await rollout.handle.execute_update("approve", {"by": "bob"}))["accepted"]
        outcome = await ended(rollout)
    assert outcome.status is S.ACTIVE
    assert rollout.world.approvals == [("bob", True)]


@pytest.mark.usefixtures("short_runs")
async def test_a_wait_for_a_slot_continues_too(stage: Stage) -> None:
    async with stage.rollout(no_slots=True) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        for _ in range(60):
            await rollout.handle.signal("resume", {"by": "ann"})
        await rollout.until(lambda world: len(world.epochs) > 1)
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await ended(rollout)
    assert (outcome.status, outcome.reason) == (S.CANCELLED, Reason.ABORTED)
    dropped = [message for _, _, message in rollout.world.decisions if "more commands had no effect" in message]
    assert dropped, "what came too fast to be put on record is counted there"


@pytest.mark.usefixtures("short_runs")
async def test_what_a_signal_calls_its_fields_is_not_carried_at_any_length(stage: Stage) -> None:
    """Temporal takes 2 MB of state from one run to the next."""
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        for number in range(12):
            await rollout.handle.signal("resume", {"by": "ann", f"{number}" + "x" * 300_000: 1})
        await rollout.until(lambda world: len(world.epochs) > 1)
        assert await has_continued(rollout)
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert_rolled_back(rollout, outcome, opened=len(runs))
    assert max(len(message) for _, _, message in rollout.world.decisions) <= 2_000


# --- one that waits for its turn --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def waiting(stage: Stage, **queued: Any) -> AsyncIterator[tuple[Rollout, WorkflowHandle[Any, str]]]:
    """A rollout under way, and another deployment that waits for its turn; every run of both is replayed."""
    async with stage.rollout(config=FOR_HOURS) as rollout:
        await rollout.bakes_at(5_000)
        before, mine = [
            QueueEntry(name, ticket, DeploymentKind.ROLLOUT, Environment.PRODUCTION, "fraud", is_queued=ticket == 2)
            for ticket, name in ((1, "dep-before"), (2, "dep-waiting"))
        ]
        rollout.world.queue_state = QueueState(mine, under_way=(before,))
        request = DeploymentInput(
            deployment_id="dep-waiting",
            environment=Environment.PRODUCTION,
            model="fraud",
            version="2.0.0",
            initiated_by="ann",
            queue_deadline=patience(seconds=10),
        )
        task_queue = (await rollout.handle.describe()).task_queue
        handle: WorkflowHandle[Any, str] = await stage.client.start_workflow(
            "Queue",
            QueueInput(request=request, **queued),
            id=f"queue/{task_queue}",
            task_queue=task_queue,
            result_type=str,
        )
        yield rollout, handle
        await stage.replay(handle)
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.handle.result()


async def next_run(stage: Stage, handle: WorkflowHandle[Any, Any]) -> None:
    """Give it commands without effect until it has continued as a new run."""
    newest = stage.client.get_workflow_handle(handle.id)

    async def has_continued() -> bool:
        await newest.signal("resume", {"by": "ann"})
        return (await newest.describe()).run_id != handle.result_run_id

    await until(has_continued, what="its next run")


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("is_scheduled", [False, True])
async def test_one_that_waits_continues_and_takes_an_abort(stage: Stage, is_scheduled: bool) -> None:
    start_at = datetime.now(UTC) + timedelta(days=90) if is_scheduled else None
    async with waiting(stage, start_at=start_at) as (_, handle):
        await next_run(stage, handle)
        said = [handle.signal("resume", {"by": "ann"}) for _ in range(60)]
        await asyncio.gather(*said[:30], handle.signal("abort", {"by": "eve"}), *said[30:])
        told = await asyncio.wait_for(handle.result(), patient(30))
        assert told == "aborted by eve (claimed) before its turn came"


@pytest.mark.usefixtures("short_runs")
async def test_the_deadline_of_a_turn_is_one_for_all_runs(stage: Stage) -> None:
    async with waiting(stage) as (_, handle):
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(patient(4))
        await next_run(stage, handle)
        told = await asyncio.wait_for(handle.result(), patient(30))
        assert "its turn did not come" in told
        assert asyncio.get_running_loop().time() - began < patient(13)


@pytest.mark.usefixtures("short_runs")
async def test_one_that_waits_no_more_is_known_to_its_next_run(stage: Stage) -> None:
    async with waiting(stage) as (rollout, handle):
        await next_run(stage, handle)
        rollout.world.queue_state = None
        rollout.world.notify()
        assert await asyncio.wait_for(handle.result(), patient(30)) == "dep-waiting waits no more"


# --- Temporal's own limits, as they are -------------------------------------------------------------------------------


async def at_once(number: int, say: Any) -> None:
    """Give so many commands, as many at a time as Temporal takes of a workflow."""
    gate = asyncio.Semaphore(8)

    async def one() -> None:
        async with gate:
            await say()

    await asyncio.gather(*(one() for _ in range(number)))


@pytest.mark.soak
@pytest.mark.timeout(1_200)
async def test_more_refused_updates_than_a_run_may_take_leave_nothing(stage: Stage) -> None:
    async with stage.rollout(config=FOR_HOURS) as rollout:
        await rollout.bakes_at(5_000)
        before = await length(rollout)
        await at_once(2_100, lambda: rollout.refusal("resume", by="ann"))
        assert await length(rollout) < before + 100
        assert (await rollout.handle.execute_update("abort", {"by": "ann"}))["accepted"]
        outcome = await ended(rollout)
    assert_rolled_back(rollout, outcome, opened=1)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
async def test_more_accepted_updates_than_a_run_may_take_leave_room_for_an_abort(stage: Stage) -> None:
    async with stage.rollout(config=FOR_HOURS) as rollout:
        await rollout.bakes_at(5_000)
        accepted = 0
        while accepted < 2_100:
            for verb in ("pause", "resume"):
                try:
                    await rollout.handle.execute_update(verb, {"by": "ann"})
                except WorkflowUpdateFailedError:  # the change before it is not on record yet
                    continue
                accepted += 1
        assert (await rollout.handle.execute_update("abort", {"by": "ann"}))["accepted"]
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert len(runs) > 1
    assert_rolled_back(rollout, outcome, opened=len(runs))


@pytest.mark.soak
@pytest.mark.timeout(1_200)
async def test_more_signals_than_a_run_may_take_leave_room_for_an_abort(stage: Stage) -> None:
    async with stage.rollout(config=FOR_HOURS) as rollout:
        await rollout.bakes_at(5_000)
        await at_once(10_100, lambda: rollout.handle.signal("resume", {"by": "ann"}))
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await ended(rollout)
        runs = await stage.runs(rollout.handle)
    assert len(runs) > 1
    assert_rolled_back(rollout, outcome, opened=len(runs))
