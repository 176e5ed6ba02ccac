"""The policy, as a table: what is known on the left, the one next thing to do on the right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.policy import Action, Asked, Bake, GoTo, Promote, RollBack, Rollout, SetWeight, Wait, next_action
from hotswap.domain.strategy import Step, canary_steps, immediate_steps
from hotswap.domain.traffic import FULL
from hotswap.domain.verdict import Outcome, Reason, Verdict

STEPS = canary_steps(canary_percentage=10, increment_step=45, bake_seconds=60, deadline_seconds=180)
ABORT = RollBack(Reason.ABORTED, "by ann")


def judged(outcome: Outcome, reason: Reason | None = None) -> Rollout:
    return Rollout(STEPS).verified(at=1000).judged(Verdict(outcome, "numbers", reason))


@pytest.mark.parametrize(
    ("rollout", "asked", "now", "action"),
    [
        (Rollout(()), Asked(), 0, RollBack),
        (Rollout(STEPS), Asked(), 0, SetWeight),
        (Rollout(STEPS).verified(at=1000), Asked(), 1000, Bake),
        (judged(Outcome.PASS), Asked(), 1059, Wait),
        (judged(Outcome.PASS), Asked(), 1060, GoTo),
        (judged(Outcome.HARM, Reason.ERROR_RATE), Asked(), 1001, RollBack),
        (judged(Outcome.INSUFFICIENT_DATA), Asked(), 1180, RollBack),
        (judged(Outcome.INCONCLUSIVE), Asked(), 1180, RollBack),
        (judged(Outcome.ERROR), Asked(), 1180, RollBack),
        (Rollout(STEPS, position=3), Asked(), 0, Promote),
        (Rollout(STEPS).verified(at=1000), Asked(promote=True), 1001, GoTo),
        (Rollout(STEPS), Asked(promote_full=True), 1001, GoTo),
        (Rollout(immediate_steps()).verified(at=1000), Asked(), 1000, GoTo),
    ],
)
def test_next_action(rollout: Rollout, asked: Asked, now: float, action: type[Action]) -> None:
    assert isinstance(next_action(rollout, asked, now=now), action)


@given(
    position=st.integers(0, 3),
    verified=st.booleans(),
    outcome=st.none() | st.sampled_from(Outcome),
    promote=st.booleans(),
    now=st.floats(0, 1e10),
)
def test_an_abort_beats_everything(
    position: int, verified: bool, outcome: Outcome | None, promote: bool, now: float
) -> None:
    rollout = Rollout(STEPS, position, 1000 if verified else None, Verdict(outcome, "") if outcome else None)
    assert next_action(rollout, Asked(abort=ABORT, promote=promote), now=now) == ABORT


@given(outcome=st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PASS]), now=st.floats(0, 1e10))
def test_nothing_but_a_pass_goes_forward(outcome: Outcome, now: float) -> None:
    assert isinstance(next_action(judged(outcome), Asked(), now=now), RollBack)


@given(first=st.floats(0.01, 100), increment=st.floats(1, 100))
def test_a_canary_only_grows_and_ends_at_100(first: float, increment: float) -> None:
    weights = [
        step.weight
        for step in canary_steps(canary_percentage=first, increment_step=increment, bake_seconds=1, deadline_seconds=1)
    ]
    assert weights == sorted(set(weights))
    assert weights[-1] == FULL
    assert all(0 < weight <= FULL for weight in weights)


def test_full_promotion_goes_to_the_last_step_and_still_bakes_there() -> None:
    action = next_action(Rollout(STEPS).verified(at=0), Asked(promote_full=True), now=0)
    assert action == GoTo(len(STEPS) - 1, "promoted to 100% by request")
    last = Rollout(STEPS).at_step(len(STEPS) - 1)
    assert next_action(last, Asked(), now=0) == SetWeight(FULL)
    assert STEPS[-1] == Step(FULL, 60, 180)
