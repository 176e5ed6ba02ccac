"""A past deployment judged again: literal observations, and what another policy makes of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from api.replaying import policy
from hotswap.analysis.replay import End, Replayed, conclusion, replay
from hotswap.domain.analysis import BakeRecord, Observation
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Reason

RECORDED = {"canaryPercentage": 50, "monitoringDuration": "PT10S", "bakeDeadline": "PT20S", "minimumRequests": 50}
BEGUN = 1_000.0


def look(after: float, requests: int, errors: int = 0) -> Observation:
    """Both arms have so many answers; the errors are the candidate's."""
    return Observation(BEGUN + after, counts(requests, errors), counts(requests))


def counts(requests: int, errors: int = 0) -> Counts:
    return Counts(completed=requests, server_errors=errors, latency={"5000": requests})


def bake(*looks: Observation, step: int = 0, weight: int = 5_000, reference: Counts | None = None) -> BakeRecord:
    return BakeRecord(step, BEGUN, weight, reference, looks)


def replayed(bakes: Sequence[BakeRecord], **given: Any) -> tuple[Replayed, ...]:
    config = policy(RECORDED, given)
    return replay(bakes, policy=config.analysis_policy(), steps=config.plan(), rules=config.rules())


GOOD = bake(look(1, 30), look(5, 100), look(10, 200), look(11, 220))
LEAST = bake(look(1, 10), look(10, 20), look(15, 30), look(20.2, 40))


def test_a_bake_passes_at_its_end_and_not_before() -> None:
    (one,) = replayed([GOOD])
    assert (one.end, one.after_seconds, one.message) == (End.PASSED, 10, "passed after 10.0 s")
    assert one.verdict is not None
    assert one.verdict.candidate.requests == 200, "what came after is not judged"


def test_a_longer_bake_than_what_was_seen_is_not_known() -> None:
    (one,) = replayed([GOOD], monitoringDuration="PT1M", bakeDeadline="PT2M")
    assert (one.end, one.after_seconds) == (End.NOT_KNOWN, None)
    assert one.message == "not known: it goes on beyond 11.0 s, and nothing more was seen"


def test_a_look_by_chance_within_its_threshold_passes_no_bake_whose_evidence_needs_more_requests() -> None:
    slow = bake(look(1, 20), look(10, 400, 8), look(10.5, 1_300, 8), look(14, 2_000, 60))
    (one,) = replayed([slow], bakeDeadline="PT60S")
    assert (one.end, one.after_seconds) == (End.ROLLED_BACK, 14)
    config = policy(RECORDED, {"bakeDeadline": "PT60S"})
    (before,) = replay(
        [slow], policy=config.analysis_policy(), steps=config.plan(), rules=config.rules(), extends=False
    )
    assert (before.end, before.after_seconds) == (End.PASSED, 10.5), "as it was judged when there were no extensions"


def test_chance_passes_at_the_deadline_as_it_does_in_a_rollout() -> None:
    chance = bake(*(Observation(BEGUN + after, counts(900, 63), counts(900, 45)) for after in (10, 15, 20)))
    (one,) = replayed([chance])
    assert (one.end, one.after_seconds) == (End.PASSED, 20)
    assert one.verdict is not None
    assert "deadline" in one.verdict.message
    config = policy(RECORDED, {})
    (before,) = replay(
        [chance], policy=config.analysis_policy(), steps=config.plan(), rules=config.rules(), extends=False
    )
    assert before.end is End.ROLLED_BACK, "as it was judged when no bake passed so"


def test_harm_rolls_back_at_the_look_that_shows_it_and_nothing_after_is_reached() -> None:
    bad = bake(look(1, 30), look(2, 100, 2), look(3, 200, 40), look(4, 300, 60))
    later = bake(look(20, 100), step=1, weight=TOTAL_WEIGHT, reference=counts(1_000))
    first, second = replayed([bad, later])
    assert (first.end, first.after_seconds) == (End.ROLLED_BACK, 3)
    assert first.verdict is not None
    assert first.verdict.reason is Reason.ERROR_RATE
    assert first.message.startswith("rolled back after 3.0 s: error rate is 20.00% above")
    assert (second.end, second.verdict) == (End.NOT_REACHED, None)
    assert conclusion([first, second]) == (End.ROLLED_BACK, f"step 1 at 50%: {first.message}")


def test_a_more_lenient_threshold_lets_it_pass() -> None:
    bad = bake(look(1, 30), look(3, 200, 40), look(10, 300, 60))
    (one,) = replayed([bad], rollbackThresholds={"errorRateIncrease": 0.5})
    assert (one.end, one.after_seconds) == (End.PASSED, 10)


@pytest.mark.parametrize(
    ("given", "end", "after", "outcome"),
    [
        ({}, End.ROLLED_BACK, 20.2, Outcome.INSUFFICIENT_DATA),
        ({"onNoVerdict": "hold"}, End.HELD, 20.2, Outcome.INSUFFICIENT_DATA),
        ({"minimumRequests": 15}, End.PASSED, 10, Outcome.PASS),
        ({"minimumRequests": 35}, End.PASSED, 20.2, Outcome.PASS),
        ({"bakeDeadline": "PT15S"}, End.ROLLED_BACK, 15, Outcome.INSUFFICIENT_DATA),
    ],
)
def test_too_few_requests_end_as_the_policy_says(given: Any, end: End, after: float, outcome: Outcome) -> None:
    (one,) = replayed([LEAST], **given)
    assert one.verdict is not None
    assert (one.end, one.verdict.outcome) == (end, outcome)
    assert one.after_seconds == pytest.approx(after)


def test_what_is_held_is_watched_for_harm_and_its_limit_ends_it() -> None:
    held = bake(*LEAST.observations, look(25, 60), look(26, 500, 100))
    (harmed,) = replayed([held], onNoVerdict="hold")
    assert (harmed.end, harmed.after_seconds) == (End.ROLLED_BACK, 26)
    (limited,) = replayed([held], onNoVerdict="hold", pauseDeadline="PT4S")
    assert (limited.end, limited.after_seconds) == (End.ROLLED_BACK, 25)
    assert Reason.DEADLINE_EXCEEDED in limited.message


def test_a_weight_that_the_policy_has_no_step_for_is_not_known() -> None:
    (one,) = replayed([GOOD], canaryPercentage=25, incrementStep=30)
    assert (one.end, one.message) == (End.NOT_KNOWN, "the policy has no step at 50%")


def test_evidence_is_carried_on_from_a_step_that_passed_but_not_from_one_that_was_left() -> None:
    def after(step: int, first: BakeRecord) -> dict[str, float]:
        following = bake(look(40, 100), look(51, 200), step=step, weight=5_000)
        *_, last = replayed([first, following], steps=[{"weight": 50}, {"weight": 50}])
        assert last.verdict is not None
        return last.verdict.evidence

    none, some = bake(), bake(look(1, 30), look(10, 200, 2))
    assert after(1, some)["errors"] > after(1, none)["errors"]
    assert after(0, some)["errors"] == after(0, none)["errors"]


def test_the_end_is_known_only_where_all_of_it_was_seen() -> None:
    assert conclusion(replayed([]))[0] is End.NOT_KNOWN
    assert conclusion(replayed([GOOD])) == (
        End.NOT_KNOWN,
        "step 1 at 50% passes; it went on from there and nothing was seen",
    )
    full = bake(look(20, 300), step=1, weight=TOTAL_WEIGHT, reference=counts(1_000))
    assert conclusion(replayed([GOOD, full]))[0] is End.PASSED


def test_what_is_given_takes_the_place_of_what_was_recorded() -> None:
    assert policy(RECORDED, {}).plan() == policy(RECORDED, {"minimumRequests": 5}).plan()
    assert [step.weight for step in policy(RECORDED, {"steps": [{"weight": 20}]}).plan()] == [2_000, TOTAL_WEIGHT]
    listed = {"steps": [{"weight": 20}]}
    assert policy(listed, {"canaryPercentage": 60}).plan()[0].weight == 6_000
    with pytest.raises(ValidationFailed, match=r"strategyConfig\.minimumRequests"):
        policy(RECORDED, {"minimumRequests": 0})
