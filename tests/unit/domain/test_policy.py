"""The policy, as a table: what is known on the left, the one next thing to do on the right."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.analysis import NoVerdict
from hotswap.domain.fleet import Shift
from hotswap.domain.policy import (
    Action,
    Bake,
    GoTo,
    Hold,
    HoldReason,
    Promote,
    Requests,
    RollBack,
    Rollout,
    Wait,
    next_action,
)
from hotswap.domain.strategy import OnLimit, OnNoVerdict, Rules, Step, StepPause, canary_steps, immediate_steps
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import Outcome, Reason, Verdict

STEPS = canary_steps(canary_percentage=10, increment_step=45, bake_seconds=60, deadline_seconds=180)
ABORT = RollBack(Reason.ABORTED, "by ann")
BAKING = Rollout(STEPS).verified(at=1000)
GATED = Rollout((Step(1_000, 60, 180, pause=StepPause(limit_seconds=600)), Step(TOTAL_WEIGHT, 60, 180))).verified(
    at=1000
)
HOLDING = Rollout(STEPS, rules=Rules(pause=StepPause(600), on_no_verdict=OnNoVerdict.HOLD)).verified(at=1000)


def judged(outcome: Outcome, reason: Reason | None = None, *, of: Rollout = BAKING) -> Rollout:
    return of.judged(Verdict(outcome, "numbers", reason))


@pytest.mark.parametrize(
    ("rollout", "requests", "now", "action"),
    [
        (Rollout(()), Requests(), 0, RollBack),
        (Rollout(STEPS), Requests(), 0, Shift),
        (BAKING, Requests(), 1000, Bake),
        (judged(Outcome.PASS), Requests(), 1059, Wait),
        (judged(Outcome.PASS), Requests(), 1060, GoTo),
        (judged(Outcome.HARM, Reason.ERROR_RATE), Requests(), 1001, RollBack),
        (judged(Outcome.INSUFFICIENT_DATA), Requests(), 1180, RollBack),
        (judged(Outcome.INCONCLUSIVE), Requests(), 1180, RollBack),
        (judged(Outcome.ERROR), Requests(), 1180, RollBack),
        (Rollout(STEPS, position=3), Requests(), 0, Promote),
        (BAKING, Requests(promote=True), 1001, GoTo),
        (Rollout(STEPS), Requests(promote_full=True), 1001, GoTo),
        (Rollout(immediate_steps()).verified(at=1000), Requests(), 1000, GoTo),
    ],
)
def test_next_action(rollout: Rollout, requests: Requests, now: float, action: type[Action]) -> None:
    assert isinstance(next_action(rollout, requests, now=now), action)


PAUSED = BAKING.held(HoldReason.PAUSED, at=1010)
GATE = judged(Outcome.PASS, of=GATED)
UNDECIDED = judged(Outcome.INCONCLUSIVE, of=HOLDING)


@pytest.mark.parametrize(
    ("rollout", "requests", "now", "action"),
    [
        pytest.param(Rollout(STEPS), Requests(pause=True), 0, (HoldReason.PAUSED, None), id="before the first weight"),
        pytest.param(BAKING, Requests(pause=True), 1010, (HoldReason.PAUSED, None), id="in a bake"),
        pytest.param(
            replace(PAUSED, rules=Rules(pause=StepPause(600))),
            Requests(pause=True),
            1609,
            (HoldReason.PAUSED, 1610),
            id="paused, not for ever",
        ),
        pytest.param(
            replace(PAUSED, rules=Rules(pause=StepPause(600))),
            Requests(pause=True),
            1610,
            Reason.DEADLINE_EXCEEDED,
            id="paused for too long",
        ),
        pytest.param(PAUSED, Requests(), 1020, 0, id="resumed: the step begins anew"),
        pytest.param(PAUSED, Requests(promote=True), 1020, 1, id="promoted out of a pause"),
        pytest.param(
            judged(Outcome.HARM, Reason.ERROR_RATE, of=PAUSED),
            Requests(pause=True),
            1020,
            Reason.ERROR_RATE,
            id="a pause keeps no bad version",
        ),
        pytest.param(GATE, Requests(), 1060, (HoldReason.APPROVAL, 1660), id="passed, waits for an approval"),
        pytest.param(GATE, Requests(promote=True), 1001, (HoldReason.APPROVAL, 1601), id="promote passes over no gate"),
        pytest.param(GATE, Requests(approved=1), 1061, 1, id="approved"),
        pytest.param(GATE, Requests(approved=0), 1060, (HoldReason.APPROVAL, 1660), id="the start is another wait"),
        pytest.param(
            GATE.held(HoldReason.APPROVAL, at=1060), Requests(), 1660, Reason.DEADLINE_EXCEEDED, id="nobody approved"
        ),
        pytest.param(UNDECIDED, Requests(), 1180, (HoldReason.NO_VERDICT, 1780), id="held without a verdict"),
        pytest.param(UNDECIDED, Requests(retry=True), 1200, 0, id="judged again"),
        pytest.param(UNDECIDED, Requests(promote=True), 1200, 1, id="a person takes it on himself"),
        pytest.param(BAKING, Requests(go_to=2), 1001, 2, id="to a later step"),
        pytest.param(Rollout(STEPS, position=2), Requests(go_to=0), 1001, 0, id="to an earlier step"),
    ],
)
def test_what_people_ask_for(
    rollout: Rollout, requests: Requests, now: float, action: tuple[HoldReason, float | None] | Reason | int
) -> None:
    """A hold with its end, a way back with its reason, or the position that it goes to."""
    match next_action(rollout, requests, now=now):
        case Hold(why, until, _):
            assert action == (why, until)
        case RollBack(reason, _):
            assert action is reason
        case GoTo(position, _):
            assert action == position
        case other:
            pytest.fail(f"{other} was not expected")


@pytest.mark.parametrize(
    ("of", "action", "held"),
    [
        (BAKING, NoVerdict.EXTEND, False),
        (HOLDING, NoVerdict.EXTEND, True),
        (BAKING, NoVerdict.HOLD, True),
        (HOLDING, NoVerdict.ROLLBACK, False),
    ],
)
def test_a_metric_without_a_verdict_says_itself_what_comes_of_it(of: Rollout, action: NoVerdict, held: bool) -> None:
    verdict = Verdict(Outcome.INCONCLUSIVE, "numbers", Reason.SAMPLE_RATIO, action=action)
    then = next_action(of.judged(verdict), Requests(), now=1060)
    if held:
        assert isinstance(then, Hold)
    else:
        assert isinstance(then, RollBack)
        assert then.reason is Reason.SAMPLE_RATIO


def test_only_what_is_shown_already_shortens_a_bake() -> None:
    passed = Verdict(Outcome.PASS, "numbers")
    assert next_action(BAKING.judged(passed), Requests(), now=1001) == Wait(1060)
    assert isinstance(next_action(BAKING.judged(replace(passed, early=True)), Requests(), now=1001), GoTo)


def test_a_gate_that_nobody_closes_opens_where_the_config_says_so() -> None:
    pause = StepPause(limit_seconds=600, on_limit=OnLimit.PROCEED)
    rollout = Rollout((replace(GATED.steps[0], pause=pause), GATED.steps[1])).verified(at=1000)
    waiting = judged(Outcome.PASS, of=rollout).held(HoldReason.APPROVAL, at=1060)
    assert isinstance(next_action(waiting, Requests(), now=1659), Hold)
    assert next_action(waiting, Requests(), now=1660) == GoTo(1, "nobody spoke against step 1 within its limit")


def test_an_unjudged_step_is_left_when_its_bake_is_over() -> None:
    rollout = Rollout((Step(1_000, 60, 60, judged=False), Step(TOTAL_WEIGHT, 60, 180))).verified(at=1000)
    assert next_action(rollout, Requests(), now=1059) == Wait(1060)
    assert isinstance(next_action(rollout, Requests(), now=1060), GoTo)


@given(
    position=st.integers(0, 3),
    verified=st.booleans(),
    outcome=st.none() | st.sampled_from(Outcome),
    hold=st.none() | st.sampled_from(HoldReason),
    requests=st.builds(
        Requests, pause=st.booleans(), promote=st.booleans(), retry=st.booleans(), go_to=st.integers(0, 2)
    ),
    now=st.floats(0, 1e10),
)
def test_an_abort_beats_everything(
    position: int, verified: bool, outcome: Outcome | None, hold: HoldReason | None, requests: Requests, now: float
) -> None:
    verdict = Verdict(outcome, "") if outcome else None
    rollout = Rollout(STEPS, position, 1000 if verified else None, verdict, hold)
    assert next_action(rollout, replace(requests, abort=ABORT), now=now) == ABORT


@given(outcome=st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PASS]), now=st.floats(0, 1e10))
def test_nothing_but_a_pass_goes_forward(outcome: Outcome, now: float) -> None:
    assert isinstance(next_action(judged(outcome), Requests(), now=now), RollBack)


def test_full_promotion_goes_to_the_last_step_and_still_bakes_there() -> None:
    action = next_action(BAKING, Requests(promote_full=True), now=0)
    assert action == GoTo(len(STEPS) - 1, "promoted to 100% by request")
    last = Rollout(STEPS).at_step(len(STEPS) - 1)
    assert next_action(last, Requests(), now=0) == Shift(TOTAL_WEIGHT)
    assert STEPS[-1] == Step(TOTAL_WEIGHT, 60, 180)


def test_a_step_goes_on_from_the_evidence_of_those_before() -> None:
    passed = BAKING.judged(replace(Verdict(Outcome.PASS, "numbers"), evidence={"errorRate": 1.5}))
    assert passed.at_step(1).evidence == {"errorRate": 1.5}
    assert passed.at_step(1).verdict is None
    assert passed.at_step(1).at_step(0).evidence == {"errorRate": 1.5}, "what was not judged adds none"
