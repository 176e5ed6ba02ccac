"""What is asked again at 100%: within its budget, of both arms, and never a failure of the watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from activities import concurrent
from activities.concurrent import References
from activities.observations import Sources
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Source, Subject
from hotswap.domain.application import ApplicationHealth, ApplicationState, Desired
from hotswap.domain.backtest import BacktestReport, RecordedRequest, RecordedSample, Reply, ReplyKind
from hotswap.domain.concurrent import Concurrent, ReferenceBudget
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import RequestForm
from hotswap.messages import VerifiedWeight
from tests.fixtures.patience import until
from tests.unit.activities.watching import Bus, Callers, Clock

pytestmark = pytest.mark.usefixtures("reads_again_at_once")

SUBJECT = Subject("dep", "Production", "m", "candidate", "stable", "2.0.0", "1.0.0", TOTAL_WEIGHT, 1_000.0)
LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5)
OFTEN = ReferenceBudget(share=0.1, per_second=500)


def request(number: int, *, caller: int | None = None) -> RecordedRequest:
    return RecordedRequest(f"r-{number}", RequestForm.INSTANCE, ([number],), (1,), 1_000.0 + number, caller=caller)


class Served:
    """Records, replicas of both arms and what was asked of them, in its order."""

    def __init__(self, *callers: int | None) -> None:
        self.recorded = RecordedSample(
            tuple(request(number, caller=each) for number, each in enumerate(callers or [None]))
        )
        self.asked: list[tuple[str, str]] = []
        self.read_since: list[float] = []
        self.replies: Callable[[str], Reply] = lambda arm: answered(40 if arm == "candidate" else 10)
        self.targets: dict[str, tuple[str, ...]] = {"candidate": ("c:1",), "stable": ("s:1",)}

    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        raise NotImplementedError("only a backtest takes these")

    async def store(self, deployment_id: str, report: BacktestReport) -> None:
        raise NotImplementedError("only a backtest has a report")

    async def put(self, applications: Sequence[Desired]) -> None:
        raise NotImplementedError("the replicas stay as they are")

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        assert (application, model) == ("candidate", "m")
        self.read_since.append(since)
        return self.recorded

    async def applications(self) -> dict[str, ApplicationState]:
        return {
            name: ApplicationState(name, ApplicationHealth.RUNNING, targets=targets)
            for name, targets in self.targets.items()
        }

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        self.asked.append((application, request.request_id))
        return self.replies(application)

    def references(self) -> References:
        return References(self, self, self)


def answered(ms: float, *, model_ms: float | None = None) -> Reply:
    return Reply(ReplyKind.ANSWERED, ms / 1000, (1,), model_seconds=None if model_ms is None else model_ms / 1000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent, "PAUSE_SECONDS", 0.001)


@asynccontextmanager
async def asking(
    served: Served, *, answers: int = 10_000, budget: ReferenceBudget = OFTEN, known: Concurrent | None = None
) -> AsyncIterator[concurrent.RepeatedRequests]:
    reference = served.references().of(SUBJECT, budget, known=known)
    task = asyncio.create_task(reference.keep_asking(lambda: answers))
    yield reference
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_are_asked_the_same_by_turns_and_counted_apart() -> None:
    served = Served(None, None)
    served.replies = lambda arm: answered(40, model_ms=30) if arm == "candidate" else answered(10, model_ms=9)
    async with asking(served) as reference:
        await until(lambda: reference.seen.asked >= 4)
    seen = reference.seen
    first = [arm for arm, _ in served.asked[:8:2]]
    assert first == ["candidate", "stable", "candidate", "stable"]
    assert [ours == theirs for (_, ours), (_, theirs) in zip(served.asked[::2], served.asked[1::2], strict=False)]
    assert (seen.candidate.completed, seen.stable.completed) == (seen.asked, seen.asked)
    assert seen.candidate.latency_quantile_ms(0.5) == pytest.approx(40, rel=0.07)
    assert seen.stable.latency_quantile_ms(0.5) == pytest.approx(10, rel=0.07)
    assert (sum(seen.candidate_model.values()), sum(seen.stable_model.values())) == (seen.asked, seen.asked)
    assert (seen.reason, seen.callers) == (None, None)


async def test_no_more_is_asked_than_the_share_of_what_clients_asked() -> None:
    served = Served()
    async with asking(served, answers=55) as reference:
        await until(lambda: reference.seen.asked == 5)
        await asyncio.sleep(0.1)
    assert (reference.seen.asked, len(served.asked)) == (5, 10)


async def test_what_only_one_arm_could_be_asked_is_of_the_budget_too() -> None:
    served = Served()
    served.targets["stable"] = ()
    async with asking(served, answers=30) as reference:
        await until(lambda: len(served.asked) >= 2)
        await asyncio.sleep(0.1)
    assert served.asked == [("candidate", "r-0")] * 2, "of three turns the stable's was the second"
    assert reference.seen.asked == 0


async def test_no_more_is_asked_in_a_second_than_is_said() -> None:
    served = Served()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asking(served, budget=ReferenceBudget(share=0.1, per_second=20)) as reference:
        await until(lambda: reference.seen.asked == 6)
    assert loop.time() - begun >= 6 / 20 * 0.99


async def test_what_was_asked_before_a_worker_died_counts() -> None:
    served, known = Served(7, 8), Concurrent().after(answered(40), answered(10), callers=3)
    async with asking(served, known=known, answers=30) as reference:
        await until(lambda: reference.seen.asked == 3)
        await asyncio.sleep(0.05)
    assert (reference.seen.asked, reference.seen.callers) == (3, 3), "one caller may be one of those three"


async def test_what_only_one_has_answered_has_no_latency_to_compare() -> None:
    served = Served()
    served.replies = lambda arm: answered(40) if arm == "stable" else Reply(ReplyKind.FAILED, 5.0, problem="500")
    async with asking(served) as reference:
        await until(lambda: reference.seen.asked >= 2)
    seen = reference.seen
    assert (seen.candidate.server_errors, seen.stable.good) == (seen.asked, seen.asked)
    assert (seen.candidate.latency, seen.stable.latency) == ({}, {})


async def test_only_newer_requests_are_read_next() -> None:
    served = Served(None, None, None)
    async with asking(served):
        await until(lambda: len(served.read_since) >= 2)
    assert served.read_since[:2] == [SUBJECT.since, 1_002.0]


async def test_callers_are_counted_where_any_is_known() -> None:
    served = Served(1, 1, 2, None)
    async with asking(served, answers=40) as reference:
        await until(lambda: reference.seen.asked == 4)
        assert reference.seen.callers == 3


async def test_a_model_that_must_not_be_asked_twice_is_never_asked() -> None:
    served = Served()
    served.recorded = RecordedSample(reason="it must not be asked twice")
    async with asking(served) as reference:
        await until(lambda: reference.seen.reason is not None)
        await asyncio.sleep(0.05)
    assert (served.asked, len(served.read_since)) == ([], 1)
    assert reference.seen == Concurrent(reason="it must not be asked twice")


async def test_a_share_of_nothing_asks_nothing() -> None:
    served = Served()
    async with asking(served, budget=ReferenceBudget(share=0.0)) as reference:
        await until(lambda: reference.seen.reason == concurrent.TURNED_OFF)
    assert served.read_since == []


def _no_stable(served: Served) -> None:
    served.targets["stable"] = ()


def _refused(served: Served) -> None:
    def nobody(arm: str) -> Reply:
        raise Unavailable(f"no replica of {arm} answers")

    served.replies = nobody


def _broken(served: Served) -> None:
    def broken(arm: str) -> Reply:
        raise ZeroDivisionError("a secret")

    served.replies = broken


def _nothing(served: Served) -> None:
    served.recorded = RecordedSample()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_no_stable, "stable has no ready replica just now"),
        (_refused, "no replica of candidate answers"),
        (_broken, "both could not be asked: ZeroDivisionError"),
        (_nothing, concurrent.NO_RECORD),
    ],
)
async def test_the_reason_why_nothing_can_be_asked_is_told_until_it_is_gone(
    spoil: Callable[[Served], None], told: str
) -> None:
    served, fine = Served(), Served()
    spoil(served)
    async with asking(served) as reference:
        await until(lambda: reference.seen.reason == told)
        assert reference.seen.asked == 0
        served.recorded, served.replies, served.targets = fine.recorded, fine.replies, fine.targets
        await until(lambda: reference.seen.asked > 0)
    assert reference.seen.reason is None


async def test_all_watches_of_a_worker_have_few_in_work_together(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served()
    working = most = 0
    released = asyncio.Event()

    async def ask(application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await released.wait()
        working -= 1
        return answered(1)

    monkeypatch.setattr(served, "ask", ask)
    references = served.references()
    each = [references.of(SUBJECT, OFTEN, known=None) for _ in range(10)]
    tasks = [asyncio.create_task(one.keep_asking(lambda: 10_000)) for one in each]
    await until(lambda: most == concurrent.AT_ONCE)
    await asyncio.sleep(0.05)
    released.set()
    await until(lambda: all(one.seen.asked for one in each))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == concurrent.AT_ONCE


async def test_a_look_has_why_nothing_is_asked_once_and_not_each_time_that_it_is_said() -> None:
    served = Served()
    served.recorded = RecordedSample()
    sources = Sources(Bus(100), {}, Callers(), served.references(), clock=Clock())
    subject = replace(SUBJECT, since=Clock.now - 1)
    baseline = VerifiedWeight(weight=TOTAL_WEIGHT, verified_at=Clock.now - 1, proxies=("envoy-0",))
    async with sources.of(subject, AnalysisPolicy((LATENCY,), reference=OFTEN), baseline) as looking:
        await looking.observe()  # who has answered nothing yet is not asked
        await until(lambda: len(served.read_since) >= 2)
        first = await looking.observe()
        said = len(served.read_since)
        await until(lambda: len(served.read_since) >= said + 2)
        second = await looking.observe()
    assert first.concurrent is not None
    assert (first.concurrent.reason, second.concurrent) == (concurrent.NO_RECORD, None)


@pytest.mark.parametrize(
    ("weight", "metrics", "is_asked"),
    [
        (TOTAL_WEIGHT, (LATENCY,), True),
        (TOTAL_WEIGHT // 2, (LATENCY,), False),
        (TOTAL_WEIGHT, (Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE),), False),
    ],
)
async def test_looks_have_a_reference_at_full_weight_where_latency_is_judged(
    weight: int, metrics: tuple[Metric, ...], is_asked: bool
) -> None:
    served = Served()
    sources = Sources(Bus(100), {}, Callers(), served.references(), clock=Clock())
    subject = Subject("dep", "Production", "m", "candidate", "stable", "2.0.0", "1.0.0", weight, Clock.now - 1)
    baseline = VerifiedWeight(weight=weight, verified_at=Clock.now - 1, proxies=("envoy-0",))
    policy = AnalysisPolicy(metrics, reference=OFTEN)
    async with sources.of(subject, policy, baseline) as looking:
        await looking.observe()
        if is_asked:
            await until(lambda: len(served.asked) == 20)  # the budget's tenth of 100, of both
            await asyncio.sleep(0.05)
        look = await looking.observe()
        assert (await looking.observe()).concurrent is None, "a look has only what is new"
    assert (look.concurrent is not None) is is_asked
    assert bool(served.asked) is is_asked
