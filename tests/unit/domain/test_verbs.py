"""Every verb in every phase: what it asks for from then on, or why it has no effect. No cell is left out."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from hotswap.domain import verbs
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.policy import HoldReason, Requests, RollBack, Rollout
from hotswap.domain.strategy import Step, StepPause
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verbs import Effect, NoEffect, Situation
from hotswap.domain.verdict import Reason

STEPS = (Step(1_000, 60, 180), Step(5_000, 60, 180), Step(TOTAL_WEIGHT, 60, 180))
GATED = (STEPS[0], replace(STEPS[1], pause=StepPause()), STEPS[2])
SETTING = Rollout(STEPS)
BAKING = SETTING.verified(at=1000)
ABORT = RollBack(Reason.ABORTED, "by ann")

PHASES: dict[str, Situation] = {
    "pending": Situation(S.PENDING),
    "awaiting approval": Situation(S.AWAITING_APPROVAL),
    "backtest awaits approval": Situation(S.AWAITING_APPROVAL, Requests(approved=verbs.START), gate=verbs.BACKTEST),
    "validating": Situation(S.VALIDATING),
    "deploying": Situation(S.DEPLOYING),
    "setting a weight": Situation(S.PROGRESSING, rollout=SETTING),
    "baking": Situation(S.PROGRESSING, rollout=BAKING),
    "paused": Situation(S.PAUSED, Requests(pause=True), BAKING.held(HoldReason.PAUSED, at=1010)),
    "step awaits approval": Situation(
        S.PAUSED, rollout=Rollout(GATED, 1).verified(at=1000).held(HoldReason.APPROVAL, at=1060)
    ),
    "no verdict": Situation(S.PAUSED, rollout=BAKING.held(HoldReason.NO_VERDICT, at=1180)),
    "promoting": Situation(S.PROMOTING, rollout=Rollout(STEPS, 3)),
    "aborting": Situation(S.PROGRESSING, Requests(abort=ABORT), BAKING),
    "rolling back": Situation(S.ROLLING_BACK, rollout=BAKING),
    "ended": Situation(S.ACTIVE, rollout=Rollout(STEPS, 3)),
}

VERBS: dict[str, Callable[[Situation], verbs.VerbResult]] = {
    "approve": lambda now: verbs.approve(now, step=None),
    "reject": lambda now: verbs.reject(now, because="rejected, by ann"),
    "pause": verbs.pause,
    "resume": verbs.resume,
    "promote": verbs.promote,
    "promote full": verbs.promote_full,
    "go to step 2": lambda now: verbs.go_to(now, step=2),
    "retry": verbs.retry,
    "abort": lambda now: verbs.abort(now, ABORT),
    "scale": verbs.scale,
}

STEPS_NOT = "it isn't stepping"
NO_BAKE = "there is no bake to end"
NO_WAIT = "nothing waits for an approval"
NO_FAILURE = "no analysis of it has failed"
PAUSES = Requests(pause=True)
Row = dict[str, Requests | str]
BEFORE: Row = {
    "approve": NO_WAIT,
    "reject": NO_WAIT,
    "pause": PAUSES,
    "resume": "it isn't paused",
    "promote": NO_BAKE,
    "promote full": NO_BAKE,
    "go to step 2": STEPS_NOT,
    "retry": NO_FAILURE,
    "abort": Requests(abort=ABORT),
    "scale": "until it is Active",
}
OVER: Row = {
    **BEFORE,
    "pause": "steps no more",
    "retry": "retry deploys it again",
    "abort": "already",
    "scale": "what serves is scaled by",
}
FORWARD: Row = {
    "promote": Requests(promote=True),
    "promote full": Requests(promote_full=True),
    "go to step 2": Requests(go_to=1),
}
APPROVES = "approve or reject the step"

TABLE: dict[str, Row] = {
    "pending": BEFORE,
    "awaiting approval": {
        **BEFORE,
        "approve": Requests(approved=0),
        "reject": Requests(abort=RollBack(Reason.REJECTED, "rejected, by ann")),
    },
    "backtest awaits approval": {
        **BEFORE,
        "approve": Requests(approved=verbs.BACKTEST),
        "reject": Requests(approved=verbs.START, abort=RollBack(Reason.REJECTED, "rejected, by ann")),
        "pause": Requests(approved=verbs.START, pause=True),
        "abort": Requests(approved=verbs.START, abort=ABORT),
    },
    "validating": BEFORE,
    "deploying": BEFORE,
    "setting a weight": {**BEFORE, **FORWARD, "promote": "its weight is being set and no bake has begun"},
    "baking": {**BEFORE, **FORWARD},
    "paused": {
        **BEFORE,
        **FORWARD,
        "pause": "paused already",
        "resume": Requests(),
        "abort": Requests(pause=True, abort=ABORT),
    },
    "step awaits approval": {
        **BEFORE,
        "approve": Requests(approved=2),
        "reject": Requests(abort=RollBack(Reason.REJECTED, "rejected, by ann")),
        "pause": APPROVES,
        "resume": APPROVES,
        "promote": APPROVES,
        "promote full": "step 2 needs an approval first",
        "go to step 2": Requests(go_to=1),
    },
    "no verdict": {
        **BEFORE,
        **FORWARD,
        "pause": "retry judges again",
        "resume": "retry judges again",
        "retry": Requests(retry=True),
    },
    "promoting": {**BEFORE, "pause": "steps no more"},
    "aborting": {**OVER, "abort": Requests(abort=ABORT)},
    "rolling back": OVER,
    "ended": OVER,
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("phase", PHASES)
def test_every_verb_in_every_phase(phase: str, verb: str) -> None:
    answer = VERBS[verb](PHASES[phase])
    expected = TABLE[phase][verb]
    if isinstance(expected, Requests):
        assert isinstance(answer, Effect)
        assert answer.requests == expected
        assert answer.message
    else:
        assert isinstance(answer, NoEffect)
        assert expected in answer.message


def test_the_table_has_every_status() -> None:
    assert {situation.status for situation in PHASES.values()} >= set(S) - {
        status for status in S if status.is_terminal
    }


def test_an_approval_opens_the_wait_that_is_meant_and_once() -> None:
    waiting = PHASES["step awaits approval"]
    assert isinstance(verbs.approve(waiting, step=1), NoEffect), "a late one, for a step that is over"
    assert isinstance(verbs.approve(waiting, step=3), NoEffect), "an early one"
    first = verbs.approve(waiting, step=2)
    assert isinstance(first, Effect)
    assert isinstance(verbs.approve(replace(waiting, requests=first.requests), step=None), NoEffect), "a doubled one"


@pytest.mark.parametrize("step", [0, 4, 99])
def test_there_is_no_step_outside_the_list(step: int) -> None:
    answer = verbs.go_to(PHASES["baking"], step=step)
    assert answer == NoEffect(f"there is no step {step}; its steps are 1 to 3")


def test_no_jump_passes_over_an_approval() -> None:
    before = Situation(S.PROGRESSING, rollout=Rollout(GATED).verified(at=1000))
    assert isinstance(verbs.go_to(before, step=2), Effect), "to the step that needs it"
    assert verbs.go_to(before, step=3) == NoEffect("step 2 needs an approval first, which can't be passed over")
    assert isinstance(verbs.promote_full(before), NoEffect)
    after = Situation(S.PROGRESSING, rollout=Rollout(GATED, 2).verified(at=1000))
    assert isinstance(verbs.go_to(after, step=1), Effect), "back over it"


def test_the_first_abort_counts() -> None:
    again = verbs.abort(PHASES["aborting"], RollBack(Reason.ABORTED, "by eve"))
    assert isinstance(again, Effect)
    assert again.requests.abort == ABORT


def test_the_difference_is_what_a_word_has_changed_of_what_is_asked_for() -> None:
    cause = RollBack(Reason.ABORTED, "aborted, by ann")
    assert verbs.difference(Requests(), Requests()) == ({}, {})
    assert verbs.difference(Requests(pause=True), Requests(promote=True)) == (
        {"pause": True, "promote": False},
        {"pause": False, "promote": True},
    )
    assert verbs.difference(Requests(), Requests(abort=cause)) == ({"abort": None}, {"abort": "Aborted"})
