"""When a bake is looked at, when it has its verdict, and how long it goes on where evidence needs more requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, NoVerdict, Source
from hotswap.domain.baking import SECONDS_NEEDED, extended, is_decided, observation_interval, reading_pause
from hotswap.domain.policy import Bake, Extend, GoTo, Requests, RollBack, Rollout, next_action
from hotswap.domain.strategy import Step
from hotswap.domain.verdict import MetricResult, Outcome, Verdict
from hotswap.schemas.strategy import CanaryConfig

BEGUN, UNTIL, DEADLINE = 1_000.0, 1_060.0, 1_180.0
BAKING = Rollout((Step(1_000, 60, 180),)).verified(at=BEGUN)


def metric(name: str, outcome: Outcome, needed: float | None = None) -> MetricResult:
    return MetricResult(name, JudgeName.BETA_MIXTURE, outcome, name, {} if needed is None else {SECONDS_NEEDED: needed})


def inconclusive(*needed: float | None, action: NoVerdict = NoVerdict.EXTEND) -> Verdict:
    metrics = tuple(metric(f"m{number}", Outcome.INCONCLUSIVE, each) for number, each in enumerate(needed))
    return Verdict(Outcome.INCONCLUSIVE, "may yet be chance", metrics=metrics, action=action)


@pytest.mark.parametrize(
    ("verdict", "at", "until"),
    [
        pytest.param(inconclusive(40), 1_060, 1_100, id="as long as the evidence needs"),
        pytest.param(inconclusive(40, 70, None), 1_060, 1_130, id="the one that needs longest"),
        pytest.param(inconclusive(900), 1_060, DEADLINE, id="not beyond the deadline"),
        pytest.param(inconclusive(0), 1_060, 1_066, id="a tenth of the time so far at least"),
        pytest.param(inconclusive(40), 1_170, None, id="less than that is left"),
        pytest.param(inconclusive(40), DEADLINE, None, id="at the deadline"),
        pytest.param(inconclusive(None), 1_060, None, id="so far it looks like chance"),
        pytest.param(inconclusive(40, action=NoVerdict.HOLD), 1_060, None, id="a person is asked"),
        pytest.param(Verdict(Outcome.INSUFFICIENT_DATA, "few"), 1_060, None, id="too few requests"),
        pytest.param(Verdict(Outcome.ERROR, "none"), 1_060, None, id="an error"),
    ],
)
def test_a_bake_is_extended_in_proportion_to_what_its_evidence_needs(
    verdict: Verdict, at: float, until: float | None
) -> None:
    assert extended(verdict, at=at, begun_at=BEGUN, deadline=DEADLINE) == until
    over = at >= DEADLINE or verdict.action is NoVerdict.HOLD

    def decided(begun_at: float | None) -> bool:
        return is_decided(verdict, at=at, until=UNTIL, deadline=DEADLINE, promotes_early=False, begun_at=begun_at)

    assert decided(BEGUN) is (over or until is not None)
    assert decided(None) is over, "who doesn't extend looks on until the deadline"


def test_the_policy_extends_and_then_bakes_until_its_new_end() -> None:
    action = next_action(BAKING.judged(inconclusive(40)), Requests(), now=UNTIL)
    assert action == Extend(1_100, "the bake of step 1 goes on for 40 s: may yet be chance")
    longer = BAKING.extended(until=1_100)
    assert next_action(longer, Requests(), now=UNTIL) == Bake(until=1_100, deadline=DEADLINE)
    passed = longer.judged(Verdict(Outcome.PASS, "fine"))
    assert not isinstance(next_action(passed, Requests(), now=1_099), GoTo), "a look within its threshold is no end"
    assert isinstance(next_action(passed, Requests(), now=1_100), GoTo)
    assert isinstance(next_action(longer.judged(inconclusive(40)), Requests(), now=DEADLINE), RollBack)
    assert longer.at_step(0).bake_until is None


@pytest.mark.parametrize("later", [0.05, 0.4, 2.0])
def test_what_a_watch_returns_for_an_extension_is_extended_a_moment_later(later: float) -> None:
    verdict = inconclusive(40)
    looks = [UNTIL + number / 20 for number in range(int(20 * (DEADLINE - UNTIL)))]
    returned = [
        at
        for at in looks
        if is_decided(verdict, at=at, until=UNTIL, deadline=DEADLINE, promotes_early=False, begun_at=BEGUN)
    ]
    assert 1_000 < len(returned) < len(looks)
    early = [
        at for at in returned if not isinstance(next_action(BAKING.judged(verdict), Requests(), now=at + later), Extend)
    ]
    assert early == [], "it has until its deadline"


@pytest.mark.slow
@given(st.lists(st.floats(0, 1e6), min_size=200, max_size=200), st.floats(0, 3_600), st.floats(1, 50))
def test_extensions_come_to_an_end_at_the_deadline(needs: list[float], bake: float, factor: float) -> None:
    at, deadline, times = BEGUN + bake, BEGUN + max(bake * factor, bake + 60), 0
    for needed in needs:
        later = extended(inconclusive(needed), at=at, begun_at=BEGUN, deadline=deadline)
        if later is None:
            break
        assert at < later <= deadline
        at, times = later, times + 1
    assert times < 100


@pytest.mark.parametrize(
    ("lasted", "intervals", "pause"),
    [
        (0, [5], 1),
        (600, [5], 1),
        (1_200, [5], 2),
        (3_000, [], 5),
        (86_400, [5, 60], 5),
        (86_400, [5, 2], 2),
        (86_400, [1], 1),
    ],
)
def test_looks_become_rarer_the_longer_it_lasts_but_no_reading_of_a_threshold_is_missed(
    lasted: float, intervals: list[float], pause: float
) -> None:
    policy = AnalysisPolicy(
        tuple(Metric("queue", Source.PROMETHEUS, JudgeName.THRESHOLD, interval_seconds=each) for each in intervals)
    )
    assert observation_interval(lasted, policy) == pause


def test_a_day_of_a_hold_is_a_fifth_of_the_looks_of_one_a_second() -> None:
    at, number, policy = 0.0, 0, CanaryConfig().analysis_policy()
    while at < 86_400:
        at, number = at + observation_interval(at, policy), number + 1
    assert number < 86_400 / 4.5


@pytest.mark.parametrize(
    ("taken", "pause"),
    [
        pytest.param(0.0, 5.0, id="as often as the metric says"),
        pytest.param(0.5, 5.0, id="a tenth of the time"),
        pytest.param(2.0, 18.0, id="and never more"),
        pytest.param(10.0, 90.0, id="the longest that PostgreSQL allows"),
    ],
)
def test_a_reading_of_many_records_takes_a_tenth_of_the_time_at_most(taken: float, pause: float) -> None:
    assert reading_pause(taken, interval=5.0) == pytest.approx(pause)
