"""Plans and moves: whatever the cluster, the replicas and the steps, no arm gets more than its replicas hold."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hotswap.domain.capacity import CapacityPlan, Mode, held, needed
from hotswap.domain.demand import Demand, Holding, Quota
from hotswap.domain.errors import InsufficientCapacity, ValidationFailed
from hotswap.domain.fleet import Fleet, Scale, Shift, Stuck
from hotswap.domain.planning import Planned, make_plan
from hotswap.domain.resources import WHOLE, Amount, Cluster, Node, counted
from hotswap.domain.strategy import Step, StepPause, canary_steps
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import Environment

MOST_MOVES = 50
STEPS = canary_steps(canary_percentage=10, increment_step=15, bake_seconds=60, deadline_seconds=180)


def holding(
    name: str,
    full: int,
    *,
    gpus: float = 1.0,
    replicas: int | None = None,
    cpus: float = 0.0,
    model: str = "fraud",
    team: str | None = None,
    spare: bool = False,
) -> Holding:
    return Holding(
        name,
        environment=Environment.PRODUCTION,
        model=model,
        version="1.0.0",
        team=team,
        size=Amount.of(gpus=gpus, cpus=cpus),
        replicas=full if replicas is None else replicas,
        full=full,
        spare=spare,
    )


def cluster(*gpus: float, cpus: float = 100, others: float = 0) -> Cluster:
    nodes = [Node(Amount.of(gpus=number, cpus=cpus)) for number in gpus]
    return Cluster((replace(nodes[0], held_by_others=Amount.of(gpus=others)), *nodes[1:]))


def demand(
    candidate: Holding | None = None,
    stable: Holding | None = None,
    *others: Holding,
    on: Cluster | None = None,
    steps: tuple[Step, ...] = STEPS,
    quota: Quota | None = None,
    allow_recreate: bool = False,
) -> Demand:
    candidate = candidate or holding("candidate", 1, replicas=0)
    return Demand(candidate, stable, others, on, steps, quota, allow_recreate)


def of(full: int, gpus: float = 1.0) -> tuple[Holding, Holding]:
    """Return a candidate and a stable that have the same size."""
    return holding("candidate", full, gpus=gpus, replicas=0), holding("stable", full, gpus=gpus)


# --- the plan, as a table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "gpus", "has", "mode"),
    [
        (1, 1.0, 2, Mode.SURGE),
        (1, 1.0, 1, Mode.RECREATE),
        (1, 0.5, 1, Mode.SURGE),
        (1, 0.6, 1, Mode.RECREATE),
        (2, 1.0, 4, Mode.SURGE),
        (2, 1.0, 3, Mode.STEPWISE),
        (2, 1.0, 2, Mode.RECREATE),
        (4, 1.0, 5, Mode.STEPWISE),
        (4, 0.25, 2, Mode.SURGE),
        (3, 0.25, 1, Mode.STEPWISE),
        (2, 0.0, 0, Mode.SURGE),
    ],
)
def test_the_way_that_fits_is_chosen(full: int, gpus: float, has: int, mode: Mode) -> None:
    planned = make_plan(demand(*of(full, gpus), on=cluster(has), allow_recreate=True))
    assert planned.plan.mode is mode


def test_a_first_deployment_needs_room_for_itself_only() -> None:
    plan = make_plan(demand(holding("candidate", 2, replicas=0), on=cluster(2))).plan
    assert (plan.mode, plan.candidate, plan.stable_full) == (Mode.SURGE, 2, 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            demand(*of(2), on=cluster(2)),
            "fraud doesn't fit: candidate 2 x 1 GPU + stable 2 x 1 GPU = 4 GPUs of 2 GPUs that the cluster has; "
            "stepwise would still need candidate 1 x 1 GPU + stable 2 x 1 GPU = 3 GPUs of 2 GPUs that the cluster has",
        ),
        (demand(*of(1), on=cluster(2, others=1)), "what isn't HotSwap's 1 GPU = 3 GPUs of 2 GPUs"),
        (
            demand(*of(1), holding("Staging-x-1", 1, model="x"), on=cluster(2)),
            "+ Staging-x-1 1 GPU = 3 GPUs of",
        ),
        (demand(*of(1), on=cluster(1)), "allowRecreate"),
        (demand(*of(1, 0.6), on=cluster(1)), "candidate 1 x 0.6 GPUs + stable 1 x 0.6 GPUs = 1.2 GPUs of 1 GPU"),
        (demand(*of(1, 0.6), on=cluster(1, 1, others=0.5)), "but not where one replica needs them together"),
        (
            demand(holding("candidate", 3, gpus=0, cpus=1, replicas=0), on=cluster(1, cpus=4), steps=STEPS),
            None,
        ),
    ],
)
def test_a_refusal_shows_the_sum(asked: Demand, said: str | None) -> None:
    if said is None:
        assert make_plan(asked).plan.mode is Mode.SURGE
        return
    with pytest.raises(InsufficientCapacity) as refused:
        make_plan(asked)
    assert said in refused.value.message


def test_cpus_are_counted_as_gpus_are() -> None:
    arms = [holding(name, 3, gpus=0, cpus=1) for name in ("candidate", "stable")]
    assert make_plan(demand(*arms, on=cluster(0, cpus=6))).plan.mode is Mode.SURGE
    with pytest.raises(InsufficientCapacity, match="candidate 3 x 1 CPU \\+ stable 3 x 1 CPU = 6 CPUs of 3 CPUs"):
        make_plan(demand(replace(arms[0], replicas=0), arms[1], on=cluster(0, cpus=3)))


@pytest.mark.parametrize("on", [cluster(1), cluster(1, 1)])
def test_what_could_never_fit_is_the_requests_fault(on: Cluster) -> None:
    with pytest.raises(ValidationFailed, match=r"resources: 1 x 2 GPUs can never fit: the whole cluster has \d GPU"):
        make_plan(demand(holding("candidate", 1, gpus=2, replicas=0), on=on))


def test_a_replica_of_two_gpus_needs_them_on_one_node() -> None:
    asked = demand(holding("candidate", 1, gpus=2, replicas=0), on=cluster(1, 2))
    assert make_plan(asked).plan.mode is Mode.SURGE


def test_a_team_has_no_more_than_its_quota() -> None:
    quota = Quota("risk", 2 * WHOLE)
    mine = [replace(arm, team="risk") for arm in of(1)]
    assert make_plan(demand(*mine, on=cluster(8), quota=quota)).plan.mode is Mode.SURGE
    other = holding("Production-churn-1", 1, model="churn", team="risk")
    stranger = holding("Production-ads-1", 4, model="ads", team="ads")
    with pytest.raises(
        InsufficientCapacity, match=r"Production-churn-1 1 GPU = 3 GPUs of 2 GPUs, which is what team risk"
    ):
        make_plan(demand(*mine, other, stranger, on=cluster(8), quota=quota))
    with pytest.raises(ValidationFailed, match="team risk may have 2 GPUs"):
        make_plan(demand(holding("candidate", 3, replicas=0), on=cluster(8), quota=quota))


def test_a_cluster_that_grows_has_room_for_everything_but_a_quota() -> None:
    assert make_plan(demand(*of(9), on=None)).plan.mode is Mode.SURGE
    with pytest.raises(InsufficientCapacity, match="team risk"):
        make_plan(demand(*of(2), on=None, quota=Quota("risk", 2 * WHOLE)))


def test_only_the_models_own_spare_versions_make_room() -> None:
    spare = holding("Production-fraud-old", 1, spare=True)
    planned = make_plan(demand(*of(1), spare, on=cluster(2)))
    assert (planned.plan.mode, planned.retire) == (Mode.SURGE, ("Production-fraud-old",))
    assert make_plan(demand(*of(1), spare, on=cluster(3))).retire == ()
    with pytest.raises(InsufficientCapacity):
        make_plan(demand(*of(1), replace(spare, model="churn"), on=cluster(2)))


def test_recreating_passes_over_nobodys_approval() -> None:
    steps = (Step(1_000, 1, 1, pause=StepPause()), Step(TOTAL_WEIGHT, 1, 1))
    with pytest.raises(InsufficientCapacity, match="approval"):
        make_plan(demand(*of(1), on=cluster(1), steps=steps, allow_recreate=True))


def test_what_waits_in_vain_holds_nothing() -> None:
    """A cluster that lost GPUs: others' replicas that find no room don't keep the rest from being used."""
    waiting = holding("Production-churn-1", 8, model="churn", gpus=1)
    small = holding("candidate", 1, gpus=0, cpus=1, replicas=0)
    assert make_plan(demand(small, None, waiting, on=cluster(2))).plan.mode is Mode.SURGE


def test_a_stable_that_lost_its_gpus_does_not_keep_a_smaller_version_from_coming() -> None:
    stable, small = holding("stable", 4), holding("candidate", 1, gpus=0, cpus=1, replicas=0)
    plan = make_plan(demand(small, stable, on=cluster(3))).plan
    assert (plan.mode, plan.stable_full) == (Mode.SURGE, 3)
    assert make_plan(demand(small, stable, on=cluster(0))).plan.stable_full == 0


def test_one_gpu_is_exchanged_with_all_shed_meanwhile() -> None:
    plan = make_plan(demand(*of(1), on=cluster(1), allow_recreate=True)).plan
    assert list(walk(Fleet(plan, plan.candidate, plan.stable), TOTAL_WEIGHT)) == [
        Shift(0, TOTAL_WEIGHT),
        Scale(candidate=1, stable=0),
        Shift(TOTAL_WEIGHT, 0),
    ]


def test_four_gpus_are_exchanged_one_by_one_and_a_quarter_is_shed_at_a_time() -> None:
    plan = make_plan(demand(*of(4), on=cluster(4), allow_recreate=True)).plan
    moves = list(walk(Fleet(plan, plan.candidate, plan.stable), TOTAL_WEIGHT))
    assert moves[:4] == [Shift(0, 2_500), Scale(1, 3), Shift(2_500, 0), Shift(3_333, 2_501)]
    assert moves[-2:] == [Scale(4, 0), Shift(TOTAL_WEIGHT, 0)]
    assert max(move.shed for move in moves if isinstance(move, Shift)) <= 2_502


def walk(fleet: Fleet, weight: int) -> Iterator[Scale | Shift]:
    for _ in range(MOST_MOVES):
        if (move := fleet.move_to(weight)) is None:
            return
        yield move
        fleet = fleet.after(move)
    pytest.fail(f"no end of moves to {weight}")


# --- properties -------------------------------------------------------------------------------------------------------

sizes = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 1.0, 2.0])
weights = st.integers(1, TOTAL_WEIGHT - 1)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """Whatever two versions, in whatever steps, on whatever cluster that others use as well."""
    candidate = holding("candidate", draw(st.integers(1, 6)), gpus=draw(sizes), cpus=0.1, replicas=0)
    stable = holding("stable", draw(st.integers(1, 6)), gpus=draw(sizes), cpus=0.1)
    others = [
        holding(f"other-{number}", draw(st.integers(1, 2)), model=draw(st.sampled_from(["fraud", "ads"])), spare=True)
        for number in range(draw(st.integers(0, 2)))
    ]
    steps = tuple(Step(weight, 1, 1) for weight in (*draw(st.lists(weights, max_size=4)), TOTAL_WEIGHT))
    if draw(st.booleans()):
        steps = tuple(
            replace(
                step, candidate_replicas=draw(st.integers(max(1, needed(step.weight, candidate.full)), candidate.full))
            )
            for step in steps
        )
    return Demand(
        candidate,
        draw(st.sampled_from([stable, None])),
        tuple(others),
        cluster(*draw(st.lists(st.integers(0, 5), min_size=1, max_size=3)), others=draw(st.sampled_from([0, 0.5, 1]))),
        steps,
        draw(st.sampled_from([None, Quota("risk", 3 * WHOLE)])),
        draw(st.booleans()),
    )


def planned_or_not(asked: Demand) -> Planned | None:
    try:
        return make_plan(asked)
    except (InsufficientCapacity, ValidationFailed):
        return None


def loads(fleet: Fleet) -> tuple[float, float]:
    """The share of all requests that each arm gets, in hundredths of a percent."""
    let_through = TOTAL_WEIGHT - fleet.shed
    return let_through * fleet.weight / TOTAL_WEIGHT, let_through * (TOTAL_WEIGHT - fleet.weight) / TOTAL_WEIGHT


def assert_holds(before: Fleet, move: Scale | Shift) -> None:
    """What is so at every instant of one move: before it, after it, and in its middle."""
    after, plan = before.after(move), before.plan
    assert plan.has_room(candidate=after.candidate, stable=after.stable)
    for weighted in (before, after):
        candidate, stable = loads(weighted)
        # New replicas come, and old ones go, some time in between: only those count that are there throughout.
        assert candidate <= held(min(before.candidate, after.candidate), plan.candidate_full) + 1e-6
        assert stable <= held(min(before.stable, after.stable), plan.stable_full) + 1e-6 or not plan.stable_full
    if isinstance(move, Scale):
        assert (after.weight, after.shed) == (before.weight, before.shed)
    if plan.mode is not Mode.RECREATE:
        assert after.shed == 0


@given(asked=demands())
def test_at_every_instant_each_arm_holds_what_it_gets_and_all_of_it_has_room(asked: Demand) -> None:
    planned = planned_or_not(asked)
    assume(planned is not None and asked.cluster is not None)
    assert planned is not None
    assert asked.cluster is not None
    plan = planned.plan
    fleet = Fleet(plan, plan.candidate, plan.stable)
    others = [each for each in asked.others if each.application not in planned.retire]
    placed = asked.cluster.laid_out(counted((each.size, each.replicas) for each in others))
    steps = asked.steps[-1:] if plan.mode is Mode.RECREATE else asked.steps
    for step in steps:
        while (move := fleet.move_to(step.weight, candidates=step.candidate_replicas)) is not None:
            assert_holds(fleet, move)
            fleet = fleet.after(move)
            arms = [(asked.candidate.size, fleet.candidate)]
            arms += [(asked.stable.size, fleet.stable)] if asked.stable is not None else []
            assert asked.cluster.has_room_for(placed + counted(arms))
            if asked.quota is not None and any(size.gpus * number for size, number in arms):
                assert sum(size.gpus * number for size, number in arms) <= asked.quota.gpus
        assert (fleet.weight, fleet.shed) == (step.weight, 0)
    assert (fleet.weight, fleet.candidate) == (TOTAL_WEIGHT, plan.candidate_full), (
        "the winner is promoted with all its replicas"
    )


@pytest.mark.slow
@given(asked=demands(), jumps=st.lists(st.integers(0, TOTAL_WEIGHT), max_size=5))
def test_people_may_go_from_any_step_to_any_that_can_be_reached(asked: Demand, jumps: list[int]) -> None:
    planned = planned_or_not(asked)
    assume(planned is not None)
    assert planned is not None
    plan = planned.plan
    fleet = Fleet(plan, plan.candidate, plan.stable)
    for weight in jumps:
        if fleet.once_at(weight) is None:
            assert plan.mode is not Mode.SURGE or not plan.stable_full
            continue
        for move in walk(fleet, weight):
            assert_holds(fleet, move)
            fleet = fleet.after(move)
        assert (fleet.weight, fleet.shed) == (weight, 0)


@pytest.mark.slow
@given(asked=demands(), stop=st.integers(0, 40))
def test_going_back_while_the_candidate_holds_its_share_ends_with_the_stable_in_full(asked: Demand, stop: int) -> None:
    planned = planned_or_not(asked)
    assume(planned is not None and asked.stable is not None)
    assert planned is not None
    plan = planned.plan
    fleet = Fleet(plan, plan.candidate, plan.stable)
    for move in [*walk(fleet, TOTAL_WEIGHT)][:stop]:
        fleet = fleet.after(move)
    for _ in range(MOST_MOVES):
        if (back := fleet.move_back()) is None:
            break
        assert_holds(fleet, back)
        fleet = fleet.after(back)
    assert (fleet.weight, fleet.shed, fleet.stable) == (0, 0, plan.stable_full)


@given(asked=demands())
def test_surge_whenever_it_fits(asked: Demand) -> None:
    planned = planned_or_not(asked)
    if planned is not None and planned.plan.has_room(candidate=asked.candidate.full, stable=planned.plan.stable_full):
        assert planned.plan.mode is Mode.SURGE


@given(full=st.integers(1, 100), replicas=st.integers(0, 100), share=st.integers(0, TOTAL_WEIGHT))
def test_what_is_needed_and_what_is_held_agree(full: int, replicas: int, share: int) -> None:
    assert held(needed(share, full), full) >= share
    assert share == 0 or held(needed(share, full) - 1, full) < share
    assert held(min(replicas, full), full) + held(full - min(replicas, full), full) >= TOTAL_WEIGHT


@given(full=st.integers(1, 20), replicas=st.lists(st.integers(0, 20), min_size=2, max_size=2))
def test_the_more_replicas_the_more_is_held(full: int, replicas: list[int]) -> None:
    for fewer, more in pairwise(sorted(replicas)):
        assert held(fewer, full) <= held(more, full)


def test_there_is_no_move_without_room() -> None:
    plan = CapacityPlan(Mode.STEPWISE, 1, 1, (1, 0), candidate=0, stable=1)
    with pytest.raises(Stuck):
        Fleet(plan, 0, 1).move_to(TOTAL_WEIGHT)
