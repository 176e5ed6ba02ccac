"""The judges at 100%, where nothing runs beside the candidate."""

import math
import random
from dataclasses import asdict, replace

import msgspec
import pytest

from hotswap.analysis.draws import rate_within
from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.family import ALWAYS_VALID, alpha_of
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Moments, NoVerdict, Observation, Reading, Source
from hotswap.domain.backtest import Reply, ReplyKind
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, latency_bucket, quantile_of
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.schemas.strategy import CanaryConfig

pytestmark = pytest.mark.slow  # each judges thousands of observations

ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01, samples=1)
EARLIER = Counts(completed=10_000, latency={"1000": 10_000})


def judged(candidate: Counts, policy: AnalysisPolicy) -> Verdict:
    judging = StepJudging(policy, weight=TOTAL_WEIGHT, reference=EARLIER, prior_evidence={})
    judging.add(Observation(1.0, candidate, Counts()))
    return judging.verdict()


@pytest.mark.slow
def test_errors_and_the_bound_that_they_rest_on_spend_alpha_once() -> None:
    """A bet that is won at `alpha`, over a bound that is wrong at another tenth of it, errs more often than it says."""
    alpha = 0.01

    def bet(failed: int, rescued: int) -> float:
        least, _ = rate_within(failed, 1_000 - failed, alpha=alpha / 10)
        return float(log_evidence(rescued, failed - rescued, share=1 - (least - 0.01))) if least > 0.01 else 0.0

    needed = -math.log(alpha)
    tight = [
        Counts(completed=1_000, server_errors=failed, rescued_errors=rescued)
        for failed in range(50, 400, 10)
        for rescued in range(failed // 2, failed)
        if needed <= bet(failed, rescued) < needed - math.log(0.9)
    ]
    assert tight
    for counts in tight:
        assert judged(counts, AnalysisPolicy((ERRORS,), alpha)).outcome is Outcome.INCONCLUSIVE, counts
    plain = Counts(completed=1_000, server_errors=300, rescued_errors=300)
    assert judged(plain, AnalysisPolicy((ERRORS,), alpha)).outcome is Outcome.HARM


@pytest.mark.parametrize("config", [{}, {"analysis": {"alpha": 0.05}}, {"rollbackThresholds": {"accuracyDrop": 0.1}}])
def test_all_judges_together_spend_alpha_once(config: dict[str, object]) -> None:
    policy = CanaryConfig.model_validate(config).analysis_policy()
    spent = [alpha_of(each, policy) for each in policy.metrics if each.rolls_back and each.judge in ALWAYS_VALID]
    assert sum(spent) == pytest.approx(policy.alpha)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_candidate_that_fails_as_the_stable_does_is_seldom_harmed_at_full_weight(rate: float) -> None:
    draw, alarms = random.Random(3), 0
    policy = AnalysisPolicy((ERRORS,), 0.1)
    for _ in range(100):
        completed = failed = rescued = 0
        judging = StepJudging(policy, weight=TOTAL_WEIGHT, reference=EARLIER, prior_evidence={})
        for second in range(20):
            for _ in range(20):
                completed += 1
                if draw.random() < rate:
                    failed += 1
                    rescued += draw.random() >= rate
            judging.add(Observation(second + 1.0, Counts(completed, failed, rescued_errors=rescued), Counts()))
            if judging.verdict().outcome is Outcome.HARM:
                alarms += 1
                break
    assert alarms <= 19  # a tenth is promised; 20 of 100 has a probability below 1 in 500 then


LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5, samples=50)
TAIL = Metric("tail", Source.LATENCY, JudgeName.QUANTILE, threshold=2.0, quantile=0.95, samples=50)
BEFORE = Counts(completed=5_000, latency={"10000": 4_500, "20000": 500})
"""What the stable did in the steps before: 10 ms."""


def answered(ms: float, *, model_ms: float | None = None, of_model: bool = True) -> Reply:
    took = (ms if model_ms is None else model_ms) / 1000 if of_model else None
    return Reply(ReplyKind.ANSWERED, ms / 1000, (1,), model_seconds=took)


class AtFull:
    """Looks a second apart at a candidate that has all traffic, and at what both arms were asked beside that."""

    def __init__(self, *metrics: Metric, reference: Counts = BEFORE, alpha: float = 0.01) -> None:
        policy = AnalysisPolicy(metrics or (LATENCY, TAIL), alpha)
        self.judging = StepJudging(policy, weight=TOTAL_WEIGHT, reference=reference, prior_evidence={})
        self.draw = random.Random(4)
        self.candidate, self.at = Counts(), 0.0
        self.concurrent: Concurrent | None = None
        self.looks: list[Observation] = []

    def near(self, ms: float) -> float:
        return ms * self.draw.lognormvariate(0, 0.2)

    def second(self, *pairs: tuple[Reply, Reply], ms: float, callers: int | None = None) -> Verdict:
        for _ in range(20):
            self.candidate += Counts(completed=1, latency={latency_bucket(self.near(ms) / 1000): 1})
        for mine, theirs in pairs:
            self.concurrent = (self.concurrent or Concurrent()).after(mine, theirs, callers=callers)
        self.at += 1
        look = Observation(self.at, self.candidate, Counts(), concurrent=self.concurrent)
        self.looks.append(look)
        self.judging.add(look)
        return self.judging.verdict()

    def seconds(
        self,
        number: int = 60,
        *,
        candidate_ms: float,
        stable_ms: float,
        model_ms: tuple[float, float] | None = None,
        of_model: bool = True,
        asked: int = 5,
        callers: int | None = None,
    ) -> Verdict:
        """Until harm, or so many. What a replica's model takes is what its answer takes, unless it is said."""
        for _ in range(number):
            models = (None, None) if model_ms is None else tuple(map(self.near, model_ms))
            pairs = [
                (
                    answered(self.near(candidate_ms), model_ms=models[0], of_model=of_model),
                    answered(self.near(stable_ms), model_ms=models[1], of_model=of_model),
                )
                for _ in range(asked)
            ]
            verdict = self.second(*pairs, ms=candidate_ms, callers=callers)
            if verdict.outcome is Outcome.HARM:
                break
        return verdict


def test_a_busy_machine_that_slows_both_arms_a_hundred_times_is_no_harm_and_is_told() -> None:
    verdict = AtFull().seconds(candidate_ms=1_000, stable_ms=1_000)
    assert verdict.outcome is Outcome.PASS, verdict.message
    assert "times the stable's 10.0 ms" in verdict.message
    assert "no slower than the stable is now" in verdict.message
    assert verdict.concurrent is not None
    assert verdict.concurrent.stable.requests == 300
    assert verdict.concurrent.stable.latency_p50_ms == pytest.approx(1_000, rel=0.2)
    numbers = verdict.metrics[0].numbers
    assert numbers["ratio"] > 50
    assert numbers["concurrent_stable_ms"] == pytest.approx(1_000, rel=0.2)


def test_a_candidate_that_alone_is_slowed_is_harm() -> None:
    at_full = AtFull()
    verdict = at_full.seconds(candidate_ms=40, stable_ms=10)
    assert (verdict.outcome, verdict.reason) == (Outcome.HARM, Reason.LATENCY), verdict.message
    assert at_full.concurrent is not None
    assert at_full.concurrent.asked <= 100
    assert "put to both over the same time" in verdict.message


def test_a_candidate_that_is_slow_on_a_busy_machine_is_harm() -> None:
    verdict = AtFull().seconds(candidate_ms=3_000, stable_ms=1_000)
    assert (verdict.outcome, verdict.reason) == (Outcome.HARM, Reason.LATENCY), verdict.message


def test_a_tail_that_only_the_candidate_has_is_harm() -> None:
    at_full = AtFull(TAIL)
    for second in range(120):
        slow = 200.0 if second % 2 else 10.0
        pairs = [(answered(slow if number == 0 else 10.0), answered(10.0)) for number in range(5)]
        verdict = at_full.second(*pairs, ms=200)
        if verdict.outcome is Outcome.HARM:
            break
    assert verdict.reason is Reason.LATENCY, verdict.message


def test_what_only_waits_for_its_turn_is_held_since_the_stable_has_no_traffic() -> None:
    verdict = AtFull(LATENCY).seconds(candidate_ms=40, stable_ms=10, model_ms=(9, 9))
    assert (verdict.outcome, verdict.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD)
    assert "it is the load" in verdict.message


def test_replicas_that_do_not_tell_what_the_model_took_show_no_harm() -> None:
    verdict = AtFull(LATENCY).seconds(candidate_ms=40, stable_ms=10, of_model=False)
    assert (verdict.outcome, verdict.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD)
    assert "is not known" in verdict.message
    assert AtFull(LATENCY).seconds(candidate_ms=1_000, stable_ms=1_000, of_model=False).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("concurrent", "told"),
    [
        (None, "nothing was asked of both yet"),
        (Concurrent(reason="it must not be asked twice"), "it must not be asked twice"),
        (Concurrent(40, Counts(40, latency={"40000": 40}), Counts(40, latency={"10000": 40})), "40 requests"),
        (Concurrent(60, Counts(60), Counts(60, 60), reason="the stable has no ready replica"), "no ready replica"),
    ],
)
def test_without_a_reference_it_is_held_and_says_so(concurrent: Concurrent | None, told: str) -> None:
    at_full = AtFull(LATENCY)
    at_full.concurrent = concurrent
    for _ in range(10):
        verdict = at_full.second(ms=1_000)
    assert (verdict.outcome, verdict.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD)
    assert "there is no reference of the same time" in verdict.message
    assert told in verdict.message


def test_without_an_excess_no_reference_is_needed() -> None:
    assert AtFull().seconds(candidate_ms=10, stable_ms=10, asked=0).outcome is Outcome.PASS


def test_clients_that_are_answered_as_fast_as_before_have_met_no_harm() -> None:
    """The stable that was asked beside it has no traffic, and so is faster than it ever was."""
    at_full = AtFull(LATENCY)
    for _ in range(60):
        verdict = at_full.second(*[(answered(10), answered(2))] * 5, ms=10)
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(("callers", "outcome"), [(None, Outcome.HARM), (5, Outcome.HARM), (4, Outcome.INCONCLUSIVE)])
def test_a_single_caller_can_cause_no_harm(callers: int | None, outcome: Outcome) -> None:
    verdict = AtFull(LATENCY).seconds(candidate_ms=40, stable_ms=10, callers=callers)
    assert verdict.outcome is outcome, verdict.message


@pytest.mark.parametrize(("stable_ms", "outcome"), [(10, Outcome.HARM), (40, Outcome.PASS)])
def test_where_the_stable_has_no_figures_the_reference_alone_says(stable_ms: float, outcome: Outcome) -> None:
    verdict = AtFull(LATENCY, reference=Counts()).seconds(candidate_ms=40, stable_ms=stable_ms)
    assert verdict.outcome is outcome, verdict.message
    lacking = AtFull(LATENCY, reference=Counts()).seconds(candidate_ms=40, stable_ms=10, asked=0)
    assert lacking.outcome is Outcome.INSUFFICIENT_DATA


def test_a_look_without_anything_new_leaves_the_reference_as_it_was() -> None:
    at_full = AtFull(LATENCY)
    said = at_full.seconds(20, candidate_ms=1_000, stable_ms=1_000)
    at_full.concurrent = None
    again = at_full.second(ms=1_000)
    assert (again.outcome, again.concurrent) == (Outcome.PASS, said.concurrent)


def test_what_is_stored_of_the_looks_gives_the_same_verdict() -> None:
    at_full = AtFull()
    verdict = at_full.seconds(candidate_ms=40, stable_ms=10)
    again = AtFull()
    for look in at_full.looks:
        again.judging.add(msgspec.convert(msgspec.json.decode(msgspec.json.encode(asdict(look))), Observation))
    assert again.judging.verdict() == verdict


def test_a_reference_that_begins_anew_adds_no_evidence_by_its_first_requests() -> None:
    at_full = AtFull(LATENCY)
    at_full.seconds(10, candidate_ms=11, stable_ms=10)
    before = at_full.judging.verdict().metrics[0].log_evidence
    at_full.concurrent = None
    assert at_full.second((answered(400), answered(10)), ms=11).metrics[0].log_evidence == pytest.approx(before)


@pytest.mark.slow
def test_a_good_candidate_is_seldom_harmed_by_its_reference_whatever_the_machine_does() -> None:
    """Heavy tails, bursts that both arms feel, one request or five a second."""
    alarms, metric = 0, replace(LATENCY, threshold=1.0, floor_ms=0.0, samples=1)
    for run in range(40):
        at_full = AtFull(metric, alpha=0.1)
        at_full.draw.seed(run)
        for second in range(30):
            ms = 10 * (1 + 50 * (second // 7 % 3 == 0)) * at_full.draw.paretovariate(1.2)
            if at_full.seconds(1, candidate_ms=ms, stable_ms=ms, asked=1 + 4 * (run % 2)).outcome is Outcome.HARM:
                alarms += 1
                break
    assert alarms <= 10  # a tenth is promised; 11 of 40 has a probability below 1 in 500 then


RELATIVE = Metric("slower", Source.LATENCY, JudgeName.THRESHOLD, relative=True, maximum=1.5, samples=20)
ACCURACY = Metric("hits", Source.ACCURACY, JudgeName.THRESHOLD, relative=True, minimum=0.9, samples=20)


@pytest.mark.parametrize("metric", [RELATIVE, ACCURACY], ids=lambda each: each.name)
def test_limits_relative_to_another_time_hold_and_roll_nothing_back(metric: Metric) -> None:
    reading = Reading(1.0, Moments(100, 50, 50), Moments(100, 90, 90))
    verdicts = []
    for weight, reference in ((TOTAL_WEIGHT // 2, None), (TOTAL_WEIGHT, BEFORE)):
        judging = StepJudging(AnalysisPolicy((metric,)), weight=weight, reference=reference, prior_evidence={})
        judging.add(Observation(1.0, Counts(completed=100, latency={"40000": 100}), BEFORE, {"hits": reading}))
        verdicts.append(judging.verdict())
    beside, alone = verdicts
    assert beside.outcome is Outcome.HARM
    assert (alone.outcome, alone.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD)
    assert "of another time" in alone.message
    absolute = replace(RELATIVE, relative=False, maximum=20.0)
    assert judged(Counts(completed=100, latency={"40000": 100}), AnalysisPolicy((absolute,))).outcome is Outcome.HARM


def test_kayenta_at_full_weight_is_held_since_the_stables_series_has_ended() -> None:
    kayenta = Metric("latency", Source.LATENCY, JudgeName.KAYENTA, threshold=1.0)
    judging = StepJudging(AnalysisPolicy((kayenta,)), weight=TOTAL_WEIGHT, reference=BEFORE, prior_evidence={})
    for second in range(30):
        answers = 100 * (second + 1)
        judging.add(Observation(float(second), Counts(completed=answers, latency={"40000": answers}), Counts()))
    verdict = judging.verdict(is_over=True)
    assert (verdict.outcome, verdict.action) == (Outcome.INSUFFICIENT_DATA, NoVerdict.HOLD)
    assert "nothing runs beside the candidate" in verdict.message


@pytest.mark.parametrize("seconds", [1e-9, 1e-6, 0.0101, 1.0, 90.0])
def test_a_bucket_holds_its_latency_and_is_narrow(seconds: float) -> None:
    bound = float(latency_bucket(seconds)) / 1_000_000
    assert max(seconds, 1e-6) * (1 - 1e-5) <= bound <= max(seconds, 1e-6) * 1.06
    assert quantile_of({latency_bucket(seconds): 1}, 0.5) == pytest.approx(bound * 1000)
