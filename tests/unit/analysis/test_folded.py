"""What the judges have folded, given back: every judge goes on as if it had seen every observation, to the last bit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.analysis import folded
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, Entities, JudgeName, Metric, Moments, Observation, Reading, Source
from hotswap.domain.backtest import Reply, ReplyKind
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.ports import Judging as Port
from hotswap.schemas.strategy import CanaryConfig

METRICS = (
    Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01),
    Metric("refusals", Source.REFUSALS, JudgeName.BETA_MIXTURE, threshold=0.01),
    Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5),
    Metric("tail", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5, quantile=0.95),
    Metric("accuracy", Source.ACCURACY, JudgeName.MEAN, threshold=0.05),
    Metric("confidence", Source.CONFIDENCE, JudgeName.MEAN, threshold=0.05),
    Metric("predictions", Source.ANSWERS, JudgeName.COLLAPSE, threshold=0.3, samples=5),
    Metric("failing", Source.ERRORS, JudgeName.THRESHOLD, maximum=0.1, failures=3, interval_seconds=2, samples=5),
    Metric("queue", Source.PROMETHEUS, JudgeName.THRESHOLD, maximum=0.9, relative=True, failures=3),
    Metric("fairness", Source.WEBHOOK, JudgeName.THRESHOLD, failures=2),
    Metric("few failures", Source.ERRORS, JudgeName.LIMIT, threshold=0.05),
    Metric("few refusals", Source.REFUSALS, JudgeName.LIMIT, threshold=0.2),
    Metric("few slow answers", Source.LATENCY, JudgeName.LIMIT, threshold=0.1, maximum=10.0),
    Metric("load", Source.PROMETHEUS, JudgeName.KAYENTA, threshold=1.05),
    Metric("slowness", Source.LATENCY, JudgeName.KAYENTA, threshold=1.05, interval_seconds=1),
)
"""Each judge with each kind of source that it may be given."""
POLICY = AnalysisPolicy(METRICS, promote_early=True)

numbers = st.floats(-10, 10, allow_nan=False)
few = st.integers(0, 30)


@st.composite
def readings(draw: st.DrawFn, at: float) -> dict[str, Reading]:
    """What is new of some metrics; moments are of this second alone and are made cumulative by `looks`."""
    found: dict[str, Reading] = {}
    for name in draw(st.sets(st.sampled_from([each.name for each in METRICS if each.source not in {Source.ERRORS}]))):
        if draw(st.integers(0, 9)) == 0:
            found[name] = Reading(at, error="it does not answer")
            continue
        count = draw(few)
        moments = Moments(count, count * draw(st.floats(0, 1)), float(count))
        points = tuple(draw(st.lists(st.one_of(st.none(), numbers), max_size=4)))
        shares = {"answers": {"yes": float(draw(few)), "no": float(draw(few))}}
        found[name] = Reading(
            at,
            moments,
            Moments(count, count * draw(st.floats(0, 1)), float(count)),
            candidate_value=draw(st.one_of(st.none(), st.floats(0, 2))) if name == "queue" else None,
            stable_value=draw(st.sampled_from([0.0, 0.5, 1.0])),
            candidate_points=points,
            stable_points=points[::-1],
            passed=draw(st.booleans()) if name == "fairness" else None,
            candidate_draws=draw(st.sampled_from([None, moments])),
            candidate_shares=shares,
            stable_shares={"answers": {"yes": float(draw(few)), "no": float(draw(few))}},
            has_callers=draw(st.booleans()),
        )
    return found


@st.composite
def concurrents(draw: st.DrawFn, before: Concurrent) -> Concurrent:
    """One more request that both arms were asked again."""
    mine, theirs = (
        Reply(
            draw(st.sampled_from(ReplyKind)),
            seconds=draw(st.sampled_from([0.001, 0.02])),
            model_seconds=draw(st.sampled_from([None, 0.001, 0.02])),
        )
        for _ in range(2)
    )
    return before.after(mine, theirs, callers=draw(st.one_of(st.none(), few)))


@st.composite
def looks(draw: st.DrawFn) -> list[Observation]:
    """A stream: cumulative counts that sometimes shrink, readings now and then, callers from some time on."""
    seen: list[Observation] = []
    asked = Concurrent()
    arms = [Counts(), Counts()]
    for second in range(1, draw(st.integers(1, 12)) + 1):
        for arm in range(2):
            number, errors, refused = draw(few), draw(st.integers(0, 5)), draw(st.integers(0, 5))
            bound = draw(st.sampled_from(["1000", "5000", "20000", "80000.5"]))
            new = Counts(
                completed=number + errors + refused,
                server_errors=errors,
                client_errors=refused,
                sticky=draw(st.integers(0, number)),
                latency={bound: number} if number else {},
                refused=refused,
                rescued_refusals=draw(st.integers(0, refused)),
            )
            arms[arm] = new if draw(st.integers(0, 15)) == 0 else arms[arm] + new
        entities = draw(
            st.one_of(
                st.none(),
                st.builds(
                    Entities,
                    candidate=few,
                    stable=few,
                    candidate_failed=st.integers(0, 3),
                    candidate_failures=st.one_of(st.none(), few),
                    candidate_latency=st.dictionaries(st.sampled_from(["1000", "9000"]), st.floats(0.1, 5), max_size=2),
                ),
            )
        )
        is_asked = draw(st.booleans())
        asked = draw(concurrents(asked)) if is_asked else asked
        at = 1_000.0 + second * 1.1
        look = Observation(at, arms[0], arms[1], draw(readings(float(second))), entities)
        seen.append(replace(look, concurrent=asked if is_asked else None))
    return seen


def test_every_judge_is_among_them() -> None:
    assert {each.judge for each in METRICS} == set(JudgeName)


def judging(policy: AnalysisPolicy = POLICY, **given: Any) -> StepJudging:
    return StepJudging(policy, **({"weight": 3_000, "reference": None, "prior_evidence": {"latency": 0.7}} | given))


def fed(judge: Port, seen: Sequence[Observation]) -> Port:
    for each in seen:
        judge.add(each)
    return judge


@pytest.mark.slow
@given(looks(), st.data(), st.sampled_from([3_000, TOTAL_WEIGHT]))
def test_a_judging_that_was_given_back_says_what_the_one_that_saw_all_says(
    seen: list[Observation], data: st.DataObject, weight: int
) -> None:
    reference = Counts(completed=90, server_errors=2, latency={"5000": 88}) if weight == TOTAL_WEIGHT else None
    at = data.draw(st.integers(0, len(seen)))
    whole = fed(judging(weight=weight, reference=reference), seen[:at])
    again = judging(weight=weight, reference=reference)
    assert again.resume(whole.folded())
    assert again.last == whole.last
    for look in [None, *seen[at:]]:
        for each in (whole, again):
            fed(each, [look] if look is not None else [])
        assert again.verdict() == whole.verdict()
    assert again.folded() == whole.folded()
    assert again.verdict(is_over=True) == whole.verdict(is_over=True)
    restored = judging(weight=weight, reference=reference)
    assert restored.resume(whole.folded()), "what is judged once is judged once, whoever asks"
    assert restored.verdict() == whole.verdict()


@pytest.mark.slow
@given(looks(), st.sampled_from([3_000, TOTAL_WEIGHT]))
def test_whatever_a_look_or_a_verdict_changes_is_kept(seen: list[Observation], weight: int) -> None:
    judge = judging(weight=weight)
    parts: list[Any] = [judge, *judge._metrics]
    parts += [part for each in judge._metrics for part in vars(each).values() if hasattr(type(part), "KEPT")]
    before = [{name: value for name, value in vars(part).items() if name not in part.KEPT} for part in parts]
    fed(judge, seen).verdict(is_over=True)
    for part, constant in zip(parts, before, strict=True):
        assert vars(part).keys() == constant.keys() | part.KEPT.keys()
        for name, value in constant.items():
            assert vars(part)[name] is value, f"{type(part).__name__} changes {name}, and doesn't keep it"


@pytest.mark.slow
def test_what_is_kept_does_not_grow_with_the_number_of_looks() -> None:
    def size(number: int) -> int:
        latency = {f"{1000 * 1.05**power:g}": number for power in range(60)}
        readings = {"load": Reading(1.0, candidate_points=(1.0,) * 5_000)}
        judge = judging()
        for at in range(number):
            counts = Counts(completed=1_000 * at, latency=latency)
            judge.add(Observation(float(at), counts, counts, readings))
        return len(judge.folded())

    assert size(4_000) < 1.1 * size(2_000)


BEFORE = fed(judging(), [Observation(1.0, Counts(completed=9), Counts(completed=9))]).folded()


@pytest.mark.parametrize(
    ("judge", "data"),
    [
        (judging(replace(POLICY, alpha=0.02)), BEFORE),
        (judging(AnalysisPolicy(METRICS[:-1])), BEFORE),
        (judging(CanaryConfig().analysis_policy()), BEFORE),
        (judging(weight=2_000), BEFORE),
        (judging(prior_evidence={}), BEFORE),
        (judging(reference=Counts(completed=1)), BEFORE),
        (judging(), b""),
        (judging(), BEFORE[:-40]),
        (judging(), b"\x92\x01\x90"),
    ],
    ids=["alpha", "metrics", "another policy", "weight", "prior", "reference", "nothing", "damaged", "something else"],
)
def test_what_was_folded_by_other_rules_is_refused_and_leaves_nothing_behind(judge: StepJudging, data: bytes) -> None:
    fresh = judge.folded()
    assert not judge.resume(data)
    assert (judge.last, judge.folded()) == (None, fresh)


def test_what_another_version_folded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded, "VERSION", folded.VERSION + 1)
    assert not judging().resume(BEFORE)
    monkeypatch.undo()
    assert judging().resume(BEFORE)


def test_an_array_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = judging()
    quantile: Any = judge._metrics[2]
    quantile._lumps._folded = np.zeros((2, 3))
    assert not judging().resume(judge.folded())
