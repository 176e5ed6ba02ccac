"""Latency and means where callers keep their arm: each of them counts once, however much it asks."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.analysis.evidence import log_evidence_of_values
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import (
    AnalysisPolicy,
    Entities,
    JudgeName,
    Metric,
    Moments,
    Observation,
    Reading,
    Source,
    Worse,
)
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict

LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5)
ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01)
ACCURACY = Metric("accuracy", Source.ACCURACY, JudgeName.MEAN, threshold=0.05, worse=Worse.LOWER, relative=True)
POLICY = AnalysisPolicy((LATENCY, ACCURACY), sample_ratio=False)


class Caller:
    """Who asks `each` second so often, is answered in `ms`, and rightly with probability `right`."""

    def __init__(self, draw: random.Random, *, ms: float, each: int, right: float) -> None:
        self.is_candidates = False
        self._draw, self._ms, self._each, self._right = draw, ms, each, right
        self.latency: dict[str, int] = {}
        self.outcomes = Moments()

    def ask(self, *, slower: float = 1.0, worse: float = 1.0) -> None:
        for _ in range(self._each):
            bound = f"{round(self._ms * slower * 1.06 ** self._draw.randrange(4) * 1000)}"
            self.latency[bound] = self.latency.get(bound, 0) + 1
            hit = float(self._draw.random() < self._right * worse)
            self.outcomes = Moments(self.outcomes.count + 1, self.outcomes.total + hit, self.outcomes.squares + hit)


def look(at: float, callers: Sequence[Caller], *, are_counted: bool = True) -> Observation:
    counts, latencies, values, draws = [], [], [], []
    for side in (True, False):
        mine = [each for each in callers if each.is_candidates is side]
        latency: dict[str, int] = {}
        weighed: dict[str, float] = {}
        for each in mine:
            for bound, count in each.latency.items():
                latency[bound] = latency.get(bound, 0) + count
                weighed[bound] = weighed.get(bound, 0) + count / each.outcomes.count
        asked = sum(latency.values())
        counts.append(Counts(completed=asked, sticky=asked, latency=latency))
        latencies.append(weighed)
        right = sum(each.outcomes.total for each in mine)
        values.append(Moments(asked, right, right))
        means = [each.outcomes.mean or 0.0 for each in mine]
        draws.append(Moments(len(mine), sum(means), sum(mean * mean for mean in means)))
    reading = Reading(at, candidate=values[0], stable=values[1])
    if not are_counted:
        return Observation(at, counts[0], counts[1], {"accuracy": reading})
    seen = Entities(draws[0].count, draws[1].count, candidate_latency=latencies[0], stable_latency=latencies[1])
    reading = replace(reading, candidate_draws=draws[0], stable_draws=draws[1])
    return Observation(at, counts[0], counts[1], {"accuracy": reading}, seen)


def rollout(
    seed: int,
    *,
    number: int = 30,
    looks: int = 20,
    slower: float = 1.0,
    worse: float = 1.0,
    counted: bool = True,
    policy: AnalysisPolicy = POLICY,
) -> Verdict:
    """Until harm, or a bake of as many looks: callers alike, and one that asks for much, and for what is hard."""
    draw = random.Random(seed)
    callers = [Caller(draw, ms=5, each=1, right=0.95) for _ in range(number)]
    callers.append(Caller(draw, ms=40, each=15, right=0.5))
    for caller in callers:
        caller.is_candidates = draw.random() < 0.3
    judging = StepJudging(policy, weight=3_000, reference=None, prior_evidence={})
    for at in range(1, looks + 1):
        for caller in callers:
            caller.ask(slower=slower if caller.is_candidates else 1, worse=worse if caller.is_candidates else 1)
        judging.add(look(float(at), callers, are_counted=counted))
        verdict = judging.verdict(is_over=at == looks)
        if verdict.outcome is Outcome.HARM:
            break
    return verdict


@pytest.mark.slow
def test_one_caller_who_asks_for_much_is_no_harm_of_the_version_it_falls_on() -> None:
    outcomes = [rollout(seed).outcome for seed in range(8)]
    assert Outcome.HARM not in outcomes
    assert outcomes.count(Outcome.PASS) >= 6, outcomes


@pytest.mark.parametrize(
    ("policy", "slower", "worse", "reason"),
    [
        (replace(POLICY, metrics=(LATENCY,)), 2.0, 1.0, Reason.LATENCY),
        (replace(POLICY, metrics=(ACCURACY,)), 1.0, 0.3, Reason.ACCURACY),
    ],
    ids=["twice as slow", "mostly wrong"],
)
def test_a_version_that_is_worse_for_all_callers_is_caught(
    policy: AnalysisPolicy, slower: float, worse: float, reason: Reason
) -> None:
    found = [rollout(seed, number=150, looks=40, slower=slower, worse=worse, policy=policy).reason for seed in range(3)]
    assert found == [reason] * 3


@pytest.mark.slow
@pytest.mark.parametrize(("number", "weight"), [(300, 1_000), (300, 5_000), (40, 5_000), (300, 9_000)])
@pytest.mark.parametrize(("worse", "reason"), [(0.6, Reason.ACCURACY), (1.0, None)])
def test_outcomes_that_fall_from_50_to_30_percent_for_every_caller_are_caught_in_a_minute(
    number: int, weight: int, worse: float, reason: Reason | None
) -> None:
    """Of each caller so many labels are known by then that its mean is no coin's fall."""
    policy, draw = replace(POLICY, metrics=(ACCURACY,)), random.Random(11)
    callers = [Caller(draw, ms=5, each=2, right=0.5) for _ in range(number)]
    for place, caller in enumerate(callers):
        caller.is_candidates = place < number * weight / TOTAL_WEIGHT
    judging = StepJudging(policy, weight=weight, reference=None, prior_evidence={})
    for at in range(1, 61):
        for caller in callers:
            caller.ask(worse=worse if caller.is_candidates else 1.0)
        judging.add(look(float(at), callers))
        if judging.verdict().outcome is Outcome.HARM:
            break
    assert judging.verdict().reason is reason, judging.verdict().message


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_evidence_of_values_is_fair_however_they_may_have_fallen(values: list[float], share: float) -> None:
    """Exactly: over all ways in which these callers may have come to the arms, the mean e-value is 1 at most."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((each - mean) ** 2 for each in values)
    expected = 0.0
    for falls in itertools.product((True, False), repeat=len(values)):
        worse = math.fsum(each - mean for each, mine in zip(values, falls, strict=True) if mine)
        chance = math.prod(share if mine else 1 - share for mine in falls)
        expected += chance * math.exp(log_evidence_of_values(worse, squares))
    assert expected <= 1 + 1e-9


def test_before_callers_are_counted_nothing_is_harm_and_few_of_them_never_are() -> None:
    uncounted = rollout(1, number=60, slower=3, counted=False, policy=replace(POLICY, metrics=(LATENCY,)))
    assert uncounted.outcome is Outcome.INCONCLUSIVE
    assert "not counted yet" in uncounted.message
    strict = replace(POLICY, metrics=(LATENCY,), minimum_callers=500)
    few = rollout(1, number=60, slower=3, policy=strict)
    assert few.outcome is Outcome.INCONCLUSIVE
    assert "at least 500" in few.message


@pytest.mark.parametrize("metric", [LATENCY, ACCURACY])
def test_at_full_weight_another_times_figures_hold_and_say_so(metric: Metric) -> None:
    draw = random.Random(2)
    before = [Caller(draw, ms=5, each=20, right=0.9) for _ in range(5)]
    for caller in before:
        caller.ask()
    reference = look(0.0, before).stable
    stable = look(0.0, before).readings["accuracy"].stable
    now = Caller(draw, ms=200, each=20, right=0.4)
    now.is_candidates = True
    judging = StepJudging(AnalysisPolicy((metric,)), weight=TOTAL_WEIGHT, reference=reference, prior_evidence={})
    for at in range(1, 31):
        now.ask()
        seen = look(float(at), [now], are_counted=False)
        reading = replace(seen.readings["accuracy"], stable=stable)
        judging.add(Observation(seen.at, seen.candidate, Counts(), {"accuracy": reading}))
    verdict = judging.verdict(is_over=True)
    assert (verdict.outcome, verdict.action.value) == (Outcome.INCONCLUSIVE, "hold")
    assert "of another time" in verdict.message


TAIL = replace(LATENCY, name="tail", threshold=2.0, quantile=0.95)
ORDINARY = {8.0: 0.25, 10.0: 0.5, 14.0: 0.25}
"""What one caller meets, in ms, and how much of its answers."""
SLOW = 6.0


def weighed(*callers: tuple[int, float], tail: float = 1.0) -> dict[str, float]:
    """The histogram of callers, each weighing 1: so many of them that take so many times as long.

    Of each a quarter of its answers takes `tail` times as long besides.
    """
    found: dict[str, float] = {}
    for number, times in callers:
        for ms, weight in ORDINARY.items():
            bound = f"{1000 * ms * times * (tail if ms == max(ORDINARY) else 1):g}"
            found[bound] = found.get(bound, 0.0) + number * weight
    return found


def relative(callers: int, times: float = 1.0, *, tail: float = 1.0) -> dict[str, float]:
    """The same of callers whose median before was as it is with `times` 1, whoever is slow among them."""
    return {f"{float(bound) / 10:g}": weight for bound, weight in weighed((callers, times), tail=tail).items()}


def of_callers(entities: Entities, metric: Metric = TAIL) -> Verdict:
    counts = Counts(completed=450, sticky=450, latency={"10000": 450})
    judging = StepJudging(
        AnalysisPolicy((metric,), sample_ratio=False), weight=5_000, reference=None, prior_evidence={}
    )
    judging.add(Observation(1.0, counts, counts, entities=entities))
    return judging.verdict(is_over=True)


ONE_SLOW = Entities(15, 16, candidate_latency=weighed((14, 1), (1, SLOW)), stable_latency=weighed((16, 1)))
AS_BEFORE = replace(ONE_SLOW, candidate_relative=relative(15), stable_relative=relative(16))


@pytest.mark.parametrize(
    ("seen", "passes"),
    [
        pytest.param(AS_BEFORE, True, id="slow before as well"),
        pytest.param(ONE_SLOW, False, id="nothing on record"),
        pytest.param(replace(AS_BEFORE, candidate_relative=relative(14)), False, id="others than callers ask too"),
        pytest.param(
            replace(AS_BEFORE, candidate_relative=relative(14) | relative(1, SLOW)), False, id="slow only now, or new"
        ),
        pytest.param(
            replace(AS_BEFORE, candidate_latency=weighed((14, 3), (1, 3 * SLOW)), candidate_relative=relative(15, 3)),
            False,
            id="the candidate is three times as slow to each",
        ),
        pytest.param(
            replace(
                AS_BEFORE,
                candidate_latency=weighed((14, 1), (1, SLOW), tail=4),
                candidate_relative=relative(15, tail=4),
            ),
            False,
            id="the tail is four times as slow to each, which a slow caller hides",
        ),
        pytest.param(
            replace(
                AS_BEFORE,
                candidate_latency=weighed((14, 3), (1, 3 * SLOW)),
                candidate_relative=relative(15, 3),
                stable_latency=weighed((16, 3)),
                stable_relative=relative(16, 3),
            ),
            True,
            id="the world is three times as slow now",
        ),
        pytest.param(
            replace(AS_BEFORE, stable_latency=weighed((16, 0.3)), stable_relative=relative(16, 0.3)),
            False,
            id="the world is faster now and the candidate isn't",
        ),
    ],
)
def test_an_excess_that_callers_had_at_the_stable_is_none_of_the_candidates(seen: Entities, passes: bool) -> None:
    verdict = of_callers(seen)
    assert (verdict.outcome is Outcome.PASS) is passes, verdict.message


def test_what_callers_had_at_the_stable_is_no_harm_though_it_falls_on_the_candidate() -> None:
    """All of fifty slow callers at the candidate, which is chance all the same."""
    seen = Entities(50, 50, candidate_latency=weighed((50, SLOW)), stable_latency=weighed((50, 1)))
    counts = [Counts(sticky=1, completed=number, latency={"60000": number}) for number in range(0, 30_000, 500)]
    others = [replace(each, latency={"10000": each.completed}) for each in counts]

    def outcome(entities: Entities) -> Outcome:
        judging = StepJudging(
            AnalysisPolicy((LATENCY,), sample_ratio=False), weight=5_000, reference=None, prior_evidence={}
        )
        for at, (mine, theirs) in enumerate(zip(counts, others, strict=True)):
            judging.add(Observation(float(at), mine, theirs, entities=entities))
        return judging.verdict().outcome

    assert outcome(seen) is Outcome.HARM
    assert outcome(replace(seen, candidate_relative=relative(50), stable_relative=relative(50))) is Outcome.PASS


@pytest.mark.parametrize("name", ["errors", "latency", "accuracy"])
def test_callers_who_came_in_an_earlier_step_are_no_further_evidence_in_the_next_one(name: str) -> None:
    """They are at the candidate for good, so what fell on it by chance would count again in every step."""
    policy = AnalysisPolicy((ERRORS, LATENCY, ACCURACY), sample_ratio=False)
    found = []
    for prior in (40.0, 80.0):
        draw = random.Random(5)
        callers = [Caller(draw, ms=5, each=2, right=0.5) for _ in range(60)]
        for place, caller in enumerate(callers):
            caller.is_candidates = place % 2 == 0
        judging = StepJudging(policy, weight=5_000, reference=None, prior_evidence={name: prior})
        for at in range(1, 4):
            for caller in callers:
                caller.ask(slower=1.5 if caller.is_candidates else 1.0, worse=0.6 if caller.is_candidates else 1.0)
            seen = look(float(at), callers)
            assert seen.entities is not None
            failed = replace(seen.entities, candidate_failed=6, stable_failed=2)
            judging.add(replace(seen, entities=failed))
        found.append(judging.verdict().evidence[name])
    assert found[0] == pytest.approx(found[1])
    assert found[0] < 40


@pytest.mark.slow
def test_of_versions_that_fail_the_same_callers_few_are_rolled_back_in_a_rollout_of_many_steps() -> None:
    """Six of two hundred callers send what neither version can answer, through the steps of a rollout's default."""
    alpha, runs, harmed = 0.01, 600, 0
    policy, draw = AnalysisPolicy((ERRORS,), alpha=alpha, sample_ratio=False), random.Random(9)
    for _ in range(runs):
        places = [draw.random() for _ in range(6)]
        prior: dict[str, float] = {}
        for weight in (1_000, 2_500, 4_000, 5_500, 7_000, 8_500):
            hit = sum(place < weight / TOTAL_WEIGHT for place in places)
            sides = (2 * weight // 100, hit), (200 - 2 * weight // 100, len(places) - hit)
            counts = [
                Counts(10 * number, 9 * failed, sticky=10 * number, sticky_errors=9 * failed)
                for number, failed in sides
            ]
            entities = Entities(sides[0][0], sides[1][0], candidate_failed=hit, stable_failed=len(places) - hit)
            judging = StepJudging(policy, weight=weight, reference=None, prior_evidence=prior)
            judging.add(Observation(1.0, counts[0], counts[1], entities=entities))
            verdict = judging.verdict()
            prior = verdict.evidence
            if verdict.outcome is Outcome.HARM:
                harmed += 1
                break
    assert harmed <= alpha * runs
