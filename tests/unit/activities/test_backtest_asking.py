"""How a backtest asks: each request of both versions, and what the candidate fails again, until chance is no reason."""

from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from temporalio.testing import ActivityEnvironment

from activities.backtest import AGAIN, ROUNDS, BacktestActivities
from hotswap.analysis.backtest import compare
from hotswap.analysis.shares import ALPHA, always_at_least
from hotswap.domain.application import ApplicationHealth, ApplicationState, Desired
from hotswap.domain.backtest import (
    BacktestLimits,
    BacktestReport,
    RecordedRequest,
    RecordedSample,
    Reply,
    ReplyKind,
    Ruling,
    rule,
)
from hotswap.domain.errors import Unavailable
from hotswap.domain.vocabulary import Environment, RequestForm
from hotswap.messages import BacktestVersion

CANDIDATE, STABLE = "fraud-2", "fraud-1"
GOOD = Reply(ReplyKind.ANSWERED, 0.001, (1,))
BROKEN = Reply(ReplyKind.FAILED, 0.001, problem="500")

Fails = Callable[[int, int], bool]
"""Whether a version fails the request of this number, asked of it for the so manieth time (from 1 on)."""


class Laboratory:
    """Records, replicas and what is kept, in one: the ports that a backtest asks by."""

    def __init__(self, number: int, *, candidate: Fails, stable: Fails | None) -> None:
        self._number = number
        self._fails = {CANDIDATE: candidate, STABLE: stable}
        self.asked: Counter[tuple[str, int]] = Counter()

    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        assert application == STABLE
        one = [RecordedRequest(f"r-{n}", RequestForm.INSTANCE, ([n],), (1,), float(n)) for n in range(self._number)]
        return RecordedSample(tuple(one[:most]))

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        raise NotImplementedError("a backtest takes samples")

    async def store(self, deployment_id: str, report: BacktestReport) -> None: ...

    async def put(self, applications: Sequence[Desired]) -> None:
        raise NotImplementedError("a backtest starts nothing")

    async def applications(self) -> dict[str, ApplicationState]:
        return {name: ApplicationState(name, ApplicationHealth.RUNNING, targets=("replica:1",)) for name in self._fails}

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        number, fails = int(request.at), self._fails[application]
        if fails is None:
            raise Unavailable("nobody is there")
        self.asked[application, number] += 1
        return BROKEN if fails(number, self.asked[application, number]) else GOOD


def never(number: int, time: int) -> bool:
    return False


def always(*numbers: int) -> Fails:
    return lambda number, _: number in numbers


def by_chance(share: float, draw: np.random.Generator) -> Fails:
    return lambda _, __: bool(draw.random() < share)


async def backtested(laboratory: Laboratory, *, seconds: float = 60.0) -> BacktestReport:
    of = BacktestActivities(laboratory, laboratory, laboratory, compare, clock=lambda: 1.0)
    work = BacktestVersion(
        deployment_id="dep-1", model="fraud", candidate=CANDIDATE, stable=STABLE, samples=200, budget_seconds=seconds
    )
    report: BacktestReport = await ActivityEnvironment().run(of.backtest, work)
    return report


def ruling(report: BacktestReport) -> Ruling:
    return rule(report, BacktestLimits(), environment=Environment.PRODUCTION).ruling


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.2])
async def test_versions_that_both_fail_by_chance_go_on(share: float) -> None:
    for seed in range(8):
        draw = np.random.default_rng(seed)
        laboratory = Laboratory(200, candidate=by_chance(share, draw), stable=by_chance(share, draw))
        report = await backtested(laboratory)
        assert report.failures.hits > 0
        assert ruling(report) is Ruling.GO_ON, report.failures


async def test_a_candidate_that_fails_by_chance_what_the_stable_answers_is_ended() -> None:
    for seed in range(4):
        draw = np.random.default_rng(seed)
        report = await backtested(Laboratory(200, candidate=by_chance(0.2, draw), stable=by_chance(0.01, draw)))
        assert ruling(report) is Ruling.FAIL, report.failures


@pytest.mark.slow
@pytest.mark.parametrize("stable", [never, None])
async def test_a_request_that_fails_each_time_is_asked_until_chance_is_no_reason(stable: Fails | None) -> None:
    broken = range(0, 200, 20)
    laboratory = Laboratory(200, candidate=always(*broken), stable=stable)
    report = await backtested(laboratory)
    asked = {number: laboratory.asked[CANDIDATE, number] for number in broken}
    assert set(asked.values()) == {1 + ROUNDS}
    assert ruling(report) is Ruling.FAIL, report.failures
    assert report.failures.hits == 10


async def test_what_is_answered_the_second_time_is_not_asked_a_third_time() -> None:
    laboratory = Laboratory(60, candidate=lambda number, time: number == 50 and time == 1, stable=always(51))
    report = await backtested(laboratory)
    assert laboratory.asked[CANDIDATE, 50] == laboratory.asked[STABLE, 50] == 2
    assert laboratory.asked[CANDIDATE, 51] == 1, "the stable fails it by now, so it says nothing"
    assert (report.failures.hits, report.left_out) == (1, 1)
    assert ruling(report) is Ruling.GO_ON


async def test_a_candidate_that_fails_everything_is_not_asked_for_ever() -> None:
    laboratory = Laboratory(200, candidate=lambda *_: True, stable=never)
    report = await backtested(laboratory)
    assert laboratory.asked.total() == 2 * (200 + AGAIN)
    assert (report.failures.hits, report.failures.of) == (200, 200)
    assert ruling(report) is Ruling.FAIL


async def test_a_round_that_there_is_no_time_for_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    laboratory = Laboratory(60, candidate=lambda *_: True, stable=never)
    monkeypatch.setattr("activities.backtest.time", SimpleNamespace(monotonic=laboratory.asked.total))
    report = await backtested(laboratory, seconds=150.0)
    assert report.asked == 53, "for 70% of the time, in which 105 answers can be had"
    assert laboratory.asked[CANDIDATE, 0] == 2
    assert laboratory.asked[CANDIDATE, 52] == 1, "it is over before the round is"
    assert report.failures.at_least == pytest.approx(always_at_least(53, 53, times=1, alpha=ALPHA / 2))
