"""What people may write as `strategyConfig`, the steps that follow, and that no config whatever breaks a rollout."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hotswap.domain import verbs
from hotswap.domain.backtest import SAMPLES, BacktestLimits, OnBreach
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.fleet import Shift
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.policy import (
    Bake,
    GoTo,
    Hold,
    Promote,
    Requests,
    RollBack,
    Rollout,
    Wait,
    next_action,
)
from hotswap.domain.strategy import OnLimit, Step, StepPause, canary_steps
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.process.temporal import describe
from hotswap.schemas.strategy import CanaryConfig


def config(**said: Any) -> CanaryConfig:
    return CanaryConfig.model_validate(said)


def metric(**said: Any) -> dict[str, Any]:
    return {"analysis": {"metrics": [{"name": "it", **said}]}}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_steps_say_weight_bake_analysis_and_pause() -> None:
    steps = config(
        monitoringDuration="PT1M",
        steps=[
            {"weight": 0, "pause": True},
            {"weight": 0.05, "bake": "PT10M"},
            {"weight": 25, "analysis": False, "pause": {"limit": "PT1H", "onLimit": "proceed"}},
            {"bake": "PT5M"},
        ],
    ).plan()
    assert steps == (
        Step(0, 60, 180, judged=False, pause=StepPause(None)),
        Step(5, 600, 1_800),
        Step(2_500, 60, 180, judged=False, pause=StepPause(3_600, OnLimit.PROCEED)),
        Step(2_500, 300, 900),
        Step(TOTAL_WEIGHT, 60, 180),
    ), "the weight before stays where none is said, and a last bake at 100% is added"


def test_steps_that_end_at_100_get_no_other() -> None:
    assert [step.weight for step in config(steps=[{"weight": 50}, {"weight": 100}]).plan()] == [5_000, TOTAL_WEIGHT]


@pytest.mark.parametrize(
    ("source", "said", "samples"),
    [("confidence", {}, 30), ("drift", {"max": 0.3}, 200), ("drift", {"max": 0.3, "samples": 20}, 20)],
)
def test_drift_needs_more_than_other_metrics_unless_somebody_says_otherwise(
    source: str, said: dict[str, Any], samples: int
) -> None:
    (judged,) = config(minimumRequests=30, **metric(source=source, **said)).analysis_policy().metrics
    assert judged.samples == samples


@pytest.mark.parametrize(
    ("said", "field", "rule"),
    [
        ({"steps": []}, "steps", "at least 1 item"),
        ({"steps": [{"weight": 10}], "canaryPercentage": 5}, "", "steps and canaryPercentage both set the weights"),
        ({"steps": [{"weight": 101}]}, "steps.0.weight", "less than or equal to 100"),
        ({"steps": [{"weight": 0.001}]}, "steps.0.weight", "hundredths of a percent"),
        ({"steps": [{"weight": 1}, {"wait": 10}]}, "steps.1.wait", "Extra inputs"),
        ({"steps": [{"weight": 1, "pause": {"limit": "soon"}}]}, "steps.0.pause", "duration"),
        ({"canaryPercentage": 0}, "canaryPercentage", "greater than 0"),
        ({"onNoVerdict": "shrug"}, "onNoVerdict", "'rollback' or 'hold'"),
        ({"analysis": {"metrics": []}}, "analysis.metrics", "at least 1"),
        (metric(source="drift", judge="quantile"), "analysis.metrics.0", "that is judged by threshold"),
        (metric(source="latency", min=1), "analysis.metrics.0", "quantile has `threshold`"),
        (metric(source="confidence", judge="threshold"), "analysis.metrics.0", "needs min or max"),
        (metric(source="prometheus", max=1), "analysis.metrics.0", "query is required for source prometheus"),
        (metric(source="prometheus", max=1, query="up{a='$b'}"), "analysis.metrics.0", "query has ${b}"),
        (metric(source="prometheus", max=1, query="up$"), "analysis.metrics.0", "begins no ${placeholder}"),
        (metric(source="webhook"), "analysis.metrics.0", "webhook is required for source webhook"),
        (metric(source="confidence", bounds=[1, 0]), "analysis.metrics.0", "the smaller one first"),
        ({"analysis": {"metrics": [{"name": "a", "source": "errors"}] * 2}}, "analysis", "two metrics are named a"),
        ({"pauseDeadline": "PT0S"}, "pauseDeadline", "must be more than PT0S"),
        ({"monitoringDuration": "P31D"}, "monitoringDuration", "must be at most P30D"),
    ],
)
def test_what_is_wrong_is_named_with_its_rule(said: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        config(**said)
    told = describe(refusal.value)
    assert field in told
    assert rule in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"steps": [{"weight": 100}, {"weight": 10}]},
            "steps.1.weight: goes down from 100 to 10, which moves callers back to the stable; write more than 100, or "
            '`"down": true` in this step if that is meant',
        ),
        ({"steps": [{"weight": 50}, {"bake": "PT1M"}, {"weight": 10}]}, "steps.2.weight: goes down from 50 to 10"),
        (
            {"steps": [{"weight": 50}, {"weight": 50, "down": True}]},
            "steps.1.down: is set for a weight of 50, which is not below the 50 before it; leave it out",
        ),
        (
            {"bakeDeadline": "PT1M"},
            "bakeDeadline: PT1M ends before the bake of PT5M; write PT5M or more, make the bake shorter",
        ),
        ({"steps": [{"weight": 5, "bake": "PT9M"}], "bakeDeadline": "PT8M"}, "before the bake of PT9M"),
        ({"steps": [{"weight": 5, "bake": "PT1M"}], "bakeDeadline": "PT2M"}, "before the bake of PT5M"),
    ],
)
def test_what_contradicts_itself_is_refused_where_it_is_asked_for_and_read_where_it_was_stored(
    said: dict[str, Any], told: str
) -> None:
    read = config(**said)
    assert CanaryConfig.model_validate(read.model_dump(mode="json", by_alias=True)) == read
    with pytest.raises(ValidationFailed) as refusal:
        read.check()
    assert told in refusal.value.message


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"bakeDeadline": "PT5M"},
        {"steps": [{"weight": 10}, {}, {"weight": 10}, {"weight": 20}]},
        {"steps": [{"weight": 50}, {"weight": 10, "down": True}, {"weight": 20}]},
        {"steps": [{"weight": 5, "bake": "PT1M"}], "bakeDeadline": "PT2M", "monitoringDuration": "PT1M"},
    ],
)
def test_what_is_meant_is_taken(said: dict[str, Any]) -> None:
    config(**said).check()


@pytest.mark.slow
def test_too_many_steps_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="steps: 1002 are more than 1000"):
        config(steps=[{"weight": 1}] * 1_001).plan()
    with pytest.raises(ValidationFailed, match="incrementStep"):
        config(canaryPercentage=0.01, incrementStep=0.01).plan()


@given(first=st.floats(0.01, 100), increment=st.floats(1, 100))
def test_a_ramp_only_grows_and_ends_at_100(first: float, increment: float) -> None:
    steps = canary_steps(canary_percentage=first, increment_step=increment, bake_seconds=1, deadline_seconds=1)
    weights = [step.weight for step in steps]
    assert weights == sorted(set(weights))
    assert weights[-1] == TOTAL_WEIGHT
    assert all(0 < weight <= TOTAL_WEIGHT for weight in weights)


# --- any config, anything that may happen -----------------------------------------------------------------------------

SECONDS = st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds))
STEPS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "weight": st.integers(0, TOTAL_WEIGHT).map(lambda hundredths: hundredths / 100),
            "bake": SECONDS,
            "analysis": st.booleans(),
            "pause": st.booleans()
            | st.fixed_dictionaries({"onLimit": st.sampled_from(["abort", "proceed"])}, optional={"limit": SECONDS}),
        },
    ),
    min_size=1,
    max_size=5,
)
RAMP = st.fixed_dictionaries({"canaryPercentage": st.floats(0.01, 100), "incrementStep": st.floats(10, 100)})
CONFIGS = st.builds(
    lambda weights, rest: CanaryConfig.model_validate({**weights, **rest}),
    RAMP | STEPS.map(lambda steps: {"steps": steps}),
    st.fixed_dictionaries(
        {
            "monitoringDuration": SECONDS,
            "pauseDeadline": st.none() | st.integers(1, 600).map(lambda seconds: timedelta(seconds=seconds)),
            "onNoVerdict": st.sampled_from(["rollback", "hold"]),
        }
    ),
)
SAID = st.sampled_from(["approve", "reject", "pause", "resume", "promote", "full", "goto", "retry", "abort", "nothing"])
HAPPENINGS = st.lists(st.tuples(SAID, st.sampled_from(Outcome)), max_size=30)


def say(word: str, now: verbs.Situation, number: int) -> verbs.VerbResult | None:
    match word:
        case "approve":
            return verbs.approve(now, step=None)
        case "reject":
            return verbs.reject(now, because="rejected, by ann")
        case "pause":
            return verbs.pause(now)
        case "resume":
            return verbs.resume(now)
        case "promote":
            return verbs.promote(now)
        case "full":
            return verbs.promote_full(now)
        case "goto":
            return verbs.go_to(now, step=1 + number % 7)
        case "retry":
            return verbs.retry(now)
        case "abort":
            return verbs.abort(now, RollBack(Reason.ABORTED, "by eve"))
        case _:
            return None


class Play:
    """A rollout played by the policy alone, with a clock that jumps to whatever is waited for."""

    def __init__(self, config: CanaryConfig) -> None:
        self.rollout = Rollout(config.plan(), rules=config.rules())
        self.requests = Requests()
        self.now = 1_000.0
        self.status = S.PROGRESSING
        self.weights: list[int] = []

    def hear(self, word: str, number: int) -> None:
        answer = say(word, verbs.Situation(self.status, self.requests, self.rollout), number)
        if isinstance(answer, verbs.Effect):
            self.requests = answer.requests
        elif answer is not None:
            assert answer.message, "what has no effect says why"

    def step(self, word: str, outcome: Outcome) -> bool:
        """Do the one next thing; whether it has ended."""
        action = next_action(self.rollout, self.requests, now=self.now)
        if self.requests.abort is not None:
            assert action == self.requests.abort
        match action:
            case RollBack():
                return True
            case Promote():
                assert self.weights[-1] == TOTAL_WEIGHT, "never promoted below 100%"
                return True
            case Shift(weight):
                assert 0 <= weight <= TOTAL_WEIGHT
                self.weights.append(weight)
                self.rollout, self.status = self.rollout.verified(at=self.now), S.PROGRESSING
            case Bake(until, deadline):
                assert until <= deadline
                self.rollout = self.rollout.judged(Verdict(outcome, "numbers"))
                self.now = until if outcome is Outcome.PASS else deadline
            case Wait(until):
                assert until > self.now
                self.now = until
            case Hold():
                self.hold(action, word)
            case GoTo(position, _):
                self.go_to(position)
        return False

    def hold(self, hold: Hold, word: str) -> None:
        self.rollout, self.status = self.rollout.held(hold.reason, at=self.now), S.PAUSED
        if hold.until is not None:
            self.now = max(self.now, hold.until)
        elif word == "nothing":  # only a person ends a hold without a limit
            self.requests = Requests(abort=RollBack(Reason.ABORTED, "somebody has to"))

    def go_to(self, position: int) -> None:
        if position > self.rollout.position:
            _went_forward_for_a_reason(self.rollout, self.requests, position)
        self.rollout, self.requests = self.rollout.at_step(position), self.requests.answered()
        self.status = S.PROGRESSING


@pytest.mark.slow
@settings(max_examples=300)
@given(config=CONFIGS, happenings=HAPPENINGS)
def test_no_config_and_nothing_said_moves_a_rollout_wrongly(
    config: CanaryConfig, happenings: list[tuple[str, Outcome]]
) -> None:
    """Weights are in range, nothing but a pass or a person goes forward, no jump passes a gate, and it always ends."""
    play, said = Play(config), iter(happenings)
    for turn in range(2_000):
        word, outcome = next(said, ("nothing", Outcome.PASS))
        play.hear(word, turn)
        if play.step(word, outcome):
            return
    pytest.fail("it never ends")


def _went_forward_for_a_reason(rollout: Rollout, requests: Requests, position: int) -> None:
    step = rollout.step
    assert step is not None
    passed = rollout.verdict is not None and rollout.verdict.outcome is Outcome.PASS
    person = requests.promote or requests.promote_full or requests.go_to == position
    assert passed or person or not step.judged
    gates = [each.pause for each in rollout.steps[rollout.position : position] if each.pause is not None]
    if gates:
        assert len(gates) == 1, "no jump passes over an approval"
        assert requests.approved == rollout.number or gates[0].on_limit is OnLimit.PROCEED


def test_a_backtest_is_made_unless_it_is_left_out() -> None:
    assert CanaryConfig().backtest.samples == SAMPLES
    assert CanaryConfig().backtest.limits() == BacktestLimits()
    said = {"samples": 0, "maxRefusals": 0, "maxFailures": 1, "maxDisagreement": None, "onBreach": "hold"}
    found = CanaryConfig.model_validate({"backtest": said}).backtest
    assert (found.samples, found.limits()) == (0, BacktestLimits(0, 1, None, OnBreach.HOLD))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("samples", -1),
        ("samples", 2_001),
        ("maxRefusals", 1.1),
        ("maxFailures", None),
        ("maxDisagreement", -0.1),
        ("scoreTolerance", -1),
        ("onBreach", "ignore"),
        ("minSamples", 3),
    ],
)
def test_what_a_backtest_cannot_be_held_to_is_refused_by_its_name(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f"backtest.{key}"):
        CanaryConfig.model_validate({"backtest": {key: value}})
