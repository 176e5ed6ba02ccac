"""Deployments on a cluster of so many GPUs: whatever happens, no arm gets more than its ready replicas hold."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from hotswap.domain.application import ApplicationSpec, ReplicaResources
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.registry import DeploymentBrief
from hotswap.domain.traffic import Arm
from hotswap.domain.verdict import Outcome, Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework
from tests.fixtures.patience import patient, until
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.world import STABLE, World, rollout_brief, version_ref

CANDIDATE = "Production-fraud-candidat"
QUICK = {"monitoringDuration": "PT0.1S", "bakeDeadline": "PT3S"}
LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}


def of(replicas: int, gpus: float = 1.0, *, most: int | None = None) -> ReplicaResources:
    return ReplicaResources(replicas=replicas, gpus=gpus, min_replicas=most and 1, max_replicas=most)


def spec(arm: Arm, resources: ReplicaResources, *, model: str = "fraud") -> ApplicationSpec:
    return ApplicationSpec(
        name=arm.application,
        deployment_id=arm.deployment_id,
        environment=Environment.PRODUCTION,
        model=model,
        version=arm.version,
        framework=Framework.ONNX,
        artifact=version_ref(arm.version).artifact,
        input_schema={},
        output_schema={},
        resources=resources,
    )


def brief_of(resources: ReplicaResources, **more: Any) -> DeploymentBrief:
    return replace(rollout_brief(), resources=resources, **more)


def stage_of(stage: Stage, resources: ReplicaResources, *, gpus: float, config: dict[str, Any], **more: Any) -> Any:
    """A stable and a candidate of this size, on so many GPUs."""
    others = more.pop("others", ())
    more.setdefault("counts", {STABLE.application: 5_000.0})  # it has answered before
    return stage.rollout(
        brief=more.pop("brief", None) or brief_of(resources),
        serving=(spec(STABLE, resources), *others),
        gpus=gpus,
        config=config,
        **more,
    )


def said(world: World) -> str:
    return " ".join(message for _, _, message in world.decisions)


@pytest.mark.parametrize(
    ("resources", "gpus", "mode"),
    [
        (of(1), 2, "surge"),
        (of(1, 0.5), 1, "surge"),
        (of(2), 3, "stepwise"),
        (of(4), 5, "stepwise"),
        (of(3, 0.25), 1, "stepwise"),
        (of(1), 1, "recreate"),
        (of(2), 2, "recreate"),
    ],
    ids=lambda each: f"{each.replicas}x{each.gpus:g}" if isinstance(each, ReplicaResources) else str(each),
)
async def test_two_versions_get_past_each_other(
    stage: Stage, resources: ReplicaResources, gpus: float, mode: str
) -> None:
    config = {**QUICK, "allowRecreate": True, "incrementStep": 25}
    async with stage_of(stage, resources, gpus=gpus, config=config) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    world = rollout.world
    assert outcome.status == S.ACTIVE
    assert f"{mode}: " in said(world)
    assert world.running[CANDIDATE] == resources.replicas, "the winner has all its replicas before the stable retires"
    assert world.weights[-1] == 10_000
    assert (max(world.sheds) > 0) is (mode == "recreate")
    assert world.sheds[-1] == 0
    if mode == "surge":
        assert world.running[STABLE.application] == resources.replicas, "going back is a change of weight only"
    assert world.overloads == []


async def test_every_new_replica_is_warmed_up_before_it_gets_anything(stage: Stage) -> None:
    async with stage_of(stage, of(2), gpus=3, config=QUICK) as rollout:
        await rollout.handle.result()
    assert rollout.world.warmed_up == [f"{CANDIDATE}: 1", f"{CANDIDATE}: 2"]


async def test_a_step_may_say_how_many_replicas_the_candidate_has(stage: Stage) -> None:
    wanted = {10: 1, 50: 2, 100: 4}
    config = {
        "monitoringDuration": "PT0.1S",
        "bakeDeadline": "PT3S",
        "steps": [{"weight": weight, "scale": {"replicas": replicas}} for weight, replicas in wanted.items()],
    }
    async with stage_of(stage, of(4), gpus=8, config=config) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert rollout.world.warmed_up == [f"{CANDIDATE}: 1", f"{CANDIDATE}: 2", f"{CANDIDATE}: 4"]
    assert rollout.world.overloads == []


async def test_what_does_not_fit_any_more_ends_before_anything_is_started(stage: Stage) -> None:
    others = [spec(Arm("Production-churn-1", "1.0.0", "dep-churn"), of(1), model="churn")]
    async with stage_of(stage, of(1), gpus=2, config=LONG, others=others) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.INSUFFICIENT_CAPACITY)
    assert "candidate 1 x 1 GPU + stable 1 x 1 GPU + Production-churn-1 1 GPU = 3 GPUs of 2 GPUs" in outcome.message
    assert CANDIDATE not in {name for _, applications in rollout.world.samples for name in applications}
    assert rollout.world.running[STABLE.application] == 1
    assert rollout.world.weights == []


async def test_a_version_of_its_own_that_was_only_kept_warm_makes_room(stage: Stage) -> None:
    old = spec(Arm("Production-fraud-old", "0.9.0", "dep-old"), of(1))
    async with stage_of(stage, of(1), gpus=2, config=QUICK, others=[old]) as rollout:
        rollout.world.plan = replace(rollout.world.plan)  # old is in no route
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert "Production-fraud-old" not in rollout.world.applications
    assert "Production-fraud-old, which was only kept warm, makes room" in said(rollout.world)


async def test_replicas_that_do_not_come_in_time_are_told_with_rays_reason(stage: Stage) -> None:
    config = {**LONG, "progressDeadline": "PT2S"}
    lost: dict[str, Any] = {"gpus_after_plan": 3, "ray_says": "no node has 1.0 GPU free"}
    async with stage_of(stage, of(2), gpus=4, config=config, **lost) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert f"1 of 2 replicas of {CANDIDATE} are ready: no node has 1.0 GPU free" in outcome.message


async def promoted(rollout: Rollout) -> bool:
    """Whether `promote` was accepted: before the bake begins it is refused."""
    try:
        await rollout.handle.execute_update("promote", {"by": "ann"})
    except WorkflowUpdateFailedError:
        return False
    return True


async def at(rollout: Rollout, weight: int) -> None:
    await rollout.until(lambda world: world.weights and world.weights[-1] == weight)


async def test_an_abort_sheds_what_the_stable_can_not_hold_until_it_is_back(stage: Stage) -> None:
    config = {**LONG, "canaryPercentage": 75, "incrementStep": 25}
    async with stage_of(stage, of(4), gpus=5, config=config) as rollout:
        await at(rollout, 7_500)
        before = len(rollout.world.sheds)
        assert rollout.world.running == {STABLE.application: 2, CANDIDATE: 3}
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    world = rollout.world
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert world.weights[-1] == 0
    assert world.sheds[before] == 5_000, "at once, and not when replicas are back"
    assert world.sheds[-1] == 0
    assert world.route is not None
    assert (world.route.candidate, world.route.shed) == (None, 0)
    assert world.running == {STABLE.application: 4}
    assert world.overloads == []


async def test_failures_where_the_last_gpu_is_the_candidates_are_held_and_an_abort_sheds_at_once(stage: Stage) -> None:
    """Nothing runs beside it, and figures of another time alone roll nothing back: a person says so."""
    config = {"monitoringDuration": "PT1S", "bakeDeadline": "PT3S", "allowRecreate": True}
    async with stage_of(stage, of(1), gpus=1, config=config, candidate_errors=0.5) as rollout:
        await at(rollout, 10_000)
        await rollout.until(lambda world: S.PAUSED in world.statuses, seconds=60)
        [told] = rollout.world.verdicts.values()
        assert told.outcome is Outcome.INCONCLUSIVE
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert rollout.world.running == {STABLE.application: 1}
    assert rollout.world.sheds[-1] == 0
    assert rollout.world.overloads == []


async def test_with_hold_the_candidate_keeps_what_the_stable_can_not_hold_and_nothing_is_shed(stage: Stage) -> None:
    config = {**LONG, "canaryPercentage": 75, "incrementStep": 25, "onAbort": "hold"}
    async with stage_of(stage, of(4), gpus=5, config=config) as rollout:
        await at(rollout, 7_500)
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    world = rollout.world
    back = world.weights[world.weights.index(7_500) + 1 :]
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert back[0] == 5_000, "at once only what the stable's two replicas can't hold"
    assert back == sorted(back, reverse=True)
    assert back[-1] == 0
    assert max(world.sheds) == 0
    assert world.running == {STABLE.application: 4}
    assert world.overloads == []


async def test_a_hold_that_takes_too_long_sheds_after_all(stage: Stage) -> None:
    config = {**LONG, "canaryPercentage": 75, "incrementStep": 25, "onAbort": "hold", "progressDeadline": "PT3S"}
    async with stage_of(stage, of(4), gpus=5, config=config) as rollout:
        await at(rollout, 7_500)
        rollout.world.gpus = 4  # one is lost, and with it the room in which the two would change places
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status == S.ROLLED_BACK
    assert rollout.world.running == {STABLE.application: 4}
    assert rollout.world.sheds[-1] == 0


async def test_a_stable_that_lost_gpus_gets_no_more_than_it_holds_until_a_person_says_fewer_are_enough(
    stage: Stage,
) -> None:
    async with stage_of(stage, of(2), gpus=4, config=LONG) as rollout:
        world = rollout.world
        await at(rollout, 5_000)
        world.gpus = 1
        world.running = {STABLE.application: 1}
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.until(lambda world: world.route.shed == 5_000)
        await asyncio.sleep(1)
        assert world.statuses[-1] is S.ROLLING_BACK, "it waits for the stable, and says so"
        world.full[STABLE.application] = 1
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status == S.ROLLED_BACK
    assert world.route is not None
    assert world.route.shed == 0


async def test_a_ray_that_does_not_answer_keeps_no_traffic_from_being_taken_back(stage: Stage) -> None:
    async with stage_of(stage, of(2), gpus=4, config=LONG) as rollout:
        await at(rollout, 5_000)
        rollout.world.ray_is_away = True
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.until(lambda world: world.route.candidate is None)
        assert rollout.world.sheds[-1] == 0
        rollout.world.ray_is_away = False
        assert (await rollout.handle.result()).status == S.ROLLED_BACK


async def test_no_weight_is_set_while_replicas_lack_that_hold_it(stage: Stage) -> None:
    config = {**LONG, "progressDeadline": "PT3S"}
    async with stage_of(stage, of(2), gpus=4, config=config) as rollout:
        await at(rollout, 5_000)
        rollout.world.gpus = 3  # one of the candidate's replicas dies and finds no GPU
        rollout.world.running[CANDIDATE] = 1
        await until(lambda: promoted(rollout), what="its bake, a moment after its weight was counted,")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.reason == Reason.DEADLINE_EXCEEDED
    assert "1 of 2 replicas" in outcome.message
    assert 10_000 not in rollout.world.weights
    assert rollout.world.overloads == []


async def test_a_rollback_to_a_warm_version_that_was_scaled_down_scales_it_up_first(stage: Stage) -> None:
    warm = Arm("Production-fraud-warm", "2.0.0", "dep-before")
    brief = brief_of(of(4), kind=DeploymentKind.ROLLBACK, warm=warm)
    async with stage.rollout(
        brief=brief, serving=[spec(STABLE, of(4)), spec(warm, of(1))], gpus=5, config=QUICK
    ) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status == S.ACTIVE
    assert rollout.world.running[warm.application] == 4
    assert rollout.world.overloads == []


async def test_going_to_a_step_that_has_no_room_is_refused_with_the_reason(stage: Stage) -> None:
    config = {**LONG, "allowRecreate": True}
    async with stage_of(stage, of(1), gpus=1, config=config) as rollout:
        await at(rollout, 10_000)
        assert "no room for both versions at 50%" in await rollout.refusal("goto", by="ann", step=1)
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.handle.result()


async def test_what_scales_by_load_stays_as_it_is_during_a_deployment_and_does_so_again_after_it(stage: Stage) -> None:
    async with stage.rollout(
        brief=brief_of(of(1, most=4)), serving=[spec(STABLE, of(1, most=4))], gpus=8, config=QUICK
    ) as rollout:
        world = rollout.world
        world.replicas[STABLE.application] = world.running[STABLE.application] = 3  # as many as the load asks for
        outcome = await rollout.handle.result()
        assert outcome.status == S.ACTIVE
    assert world.replicas[CANDIDATE] == 1, "its fewest again"
    assert f"{CANDIDATE}: 3" in world.warmed_up, "it had as many as the stable needed"


async def test_an_abort_while_it_is_planned_lets_what_scales_by_load_do_so_again(stage: Stage) -> None:
    """Whether the plan was made isn't known then: what it may have fixed is let go all the same."""
    async with stage.rollout(
        brief=brief_of(of(1, most=4)),
        serving=[spec(STABLE, of(1, most=4))],
        gpus=8,
        config={**QUICK, "progressDeadline": "PT60S"},
        held_planning=True,
    ) as rollout:
        world = rollout.world
        world.replicas[STABLE.application] = world.running[STABLE.application] = 3
        await asyncio.wait_for(world.reached.wait(), patient(20))
        assert world.replicas[STABLE.application] == 3, "fixed at what it has"
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
        world.released.set()
    assert (outcome.status, outcome.reason) == (S.CANCELLED, Reason.ABORTED)
    assert world.replicas[STABLE.application] == 1, "its fewest again"
