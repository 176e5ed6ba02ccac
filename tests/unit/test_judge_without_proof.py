"""What becomes of a rollout against which nothing is proven: a stable that is down, and evidence that is lacking."""

from dataclasses import replace

import pytest

from hotswap.analysis.figures import Outlook
from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import Look, NoVerdict
from hotswap.domain.policy import Asked, RollBack, Rollout, next_action
from hotswap.domain.strategy import Step
from hotswap.domain.traffic import FULL, Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.messages import CanaryConfig

POLICY = replace(CanaryConfig().analysis_policy(), sample_ratio=False)


def answered(completed: int, *, failed: int = 0) -> Counts:
    good = completed - failed
    return Counts(completed, server_errors=failed, latency={"5000": good} if good else {})


def judged(candidate: Counts, stable: Counts, *, weight: int = 1_000, seconds: int = 1) -> Verdict:
    judging = Judging(POLICY, weight=weight, reference=stable if weight == FULL else None, prior_evidence={})
    judging.add(Look(1.0, Counts(), Counts()))
    judging.add(Look(1.0 + seconds, candidate, stable))
    return judging.verdict(is_over=True)


@pytest.mark.parametrize(
    ("candidate", "stable", "outcome"),
    [
        pytest.param(answered(600), answered(5_400, failed=5_400), Outcome.PASS, id="the fix of an outage"),
        pytest.param(answered(600, failed=60), answered(5_400, failed=5_380), Outcome.PASS, id="much better"),
        pytest.param(answered(40), answered(5_400, failed=5_400), Outcome.INSUFFICIENT_DATA, id="few"),
        pytest.param(answered(600, failed=540), answered(600, failed=560), Outcome.INSUFFICIENT_DATA, id="both down"),
        pytest.param(answered(600), answered(20, failed=20), Outcome.INSUFFICIENT_DATA, id="unasked"),
    ],
)
@pytest.mark.parametrize("weight", [1_000, FULL])
def test_a_candidate_that_evidently_answers_where_the_stable_is_down_passes(
    candidate: Counts, stable: Counts, outcome: Outcome, weight: int
) -> None:
    verdict = judged(candidate, stable, weight=weight)
    assert verdict.outcome is outcome, verdict.message


def test_what_may_be_chance_tells_how_many_more_requests_would_show_it() -> None:
    verdict = judged(answered(222, failed=18), answered(222, failed=10), weight=5_000, seconds=37)
    errors = next(each for each in verdict.metrics if each.name == "errors")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    more = errors.numbers["requests_needed"]
    assert more > 222
    assert f"{more:.0f} more requests of the candidate, about {more / 6:.0f} s" in verdict.message


def test_the_outlook_is_in_proportion_to_what_has_been_seen() -> None:
    assert Outlook(evidence=2.0, prior=0.0, needed=6.0, requests=100, seconds=10).more == 200
    assert Outlook(evidence=3.0, prior=1.0, needed=6.0, requests=100, seconds=10).more == 150
    assert Outlook(evidence=-1.0, prior=0.0, needed=6.0, requests=100, seconds=10).more is None


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.INCONCLUSIVE, Reason.INCONCLUSIVE),
        (Outcome.INSUFFICIENT_DATA, Reason.INSUFFICIENT_DATA),
        (Outcome.ERROR, Reason.ANALYSIS_FAILED),
    ],
)
def test_a_deadline_without_proof_says_what_to_do_and_calls_chance_no_failure(outcome: Outcome, reason: Reason) -> None:
    rollout = Rollout((Step(1_000, 60, 180),), weight_verified_at=0.0, verdict=Verdict(outcome, "it says"))
    action = next_action(rollout, Asked(), now=180.0)
    assert isinstance(action, RollBack)
    assert action.reason is reason
    for word in (str(outcome), "it says", "`promote`", "`bakeDeadline`", "`onNoVerdict: hold`"):
        assert word in action.message
    assert rollout.verdict is not None
    assert rollout.verdict.action is NoVerdict.EXTEND
