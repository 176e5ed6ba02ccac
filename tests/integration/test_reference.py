"""The concurrent reference on the real Envoy, PostgreSQL and Redis: replicas are asked past the proxy, in no figure."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from activities.concurrent import References
from activities.observations import Sources, StepSources
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Source, Subject
from hotswap.domain.concurrent import ReferenceBudget
from hotswap.domain.headers import MODEL_SECONDS_HEADER
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome
from hotswap.messages import VerifiedWeight
from hotswap.persistence.analysis.backtests import PostgresBacktests
from hotswap.persistence.analysis.sticky_callers import PostgresStickyCallers
from hotswap.persistence.platform.database import Sessions
from hotswap.traffic.bus import RedisTrafficBus
from serving.backtest import HttpReplicaAsker
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.patience import patience, until
from tests.fixtures.records import encoded, recorded
from tests.fixtures.traffic import CANDIDATE, STABLE, plan
from tests.fixtures.traffic import until as counted

REQUESTS = 60
LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5, samples=10)
POLICY = AnalysisPolicy((LATENCY,), alpha=0.2, reference=ReferenceBudget(share=0.5, per_second=50))
BEFORE = Counts(completed=1_000, latency={"1000": 1_000})


@asynccontextmanager
async def at_full(
    gateway: Gateway, bus: RedisTrafficBus, sessions: Sessions, postgres_url: str, *, delays: tuple[float, float]
) -> AsyncIterator[StepSources]:
    """Clients have asked the candidate, which has all traffic; both versions have a replica, as slow as is said."""
    begun = time.time()
    asker = HttpReplicaAsker(timeout=patience(seconds=5))
    replicas = [
        await Upstream.start(arm.application, delay=delay, says={MODEL_SECONDS_HEADER: str(delay)})
        for arm, delay in zip((CANDIDATE, STABLE), delays, strict=True)
    ]
    targets = [(replica.target,) for replica in replicas]
    gateway.serve.targets = {CANDIDATE.application: targets[0], STABLE.application: targets[1]}
    baseline = VerifiedWeight(weight=TOTAL_WEIGHT, verified_at=begun, proxies=(f"envoy-{gateway.port}",))
    subject = Subject(
        *("dep-bbbb", "Production", "fraud", CANDIDATE.application, STABLE.application),
        *("2.0.0", "1.0.0", TOTAL_WEIGHT, begun),
    )
    sources = Sources(
        bus, {}, PostgresStickyCallers(sessions), References(PostgresBacktests(sessions), gateway.serve, asker)
    )
    try:
        async with gateway.agent():
            await gateway.publish(bus, plan(1, TOTAL_WEIGHT))
            await asyncio.gather(*(gateway.infer("fraud") for _ in range(REQUESTS)))
            await counted(gateway, bus, REQUESTS, CANDIDATE.application)
            rows = [
                encoded(f"r{number}", application=CANDIDATE.application, requested_at=time.time())
                for number in range(REQUESTS)
            ]
            await recorded(postgres_url, *rows)
            async with sources.of(subject, POLICY, baseline) as looking:
                yield looking
    finally:
        await asker.aclose()
        for replica in replicas:
            await replica.kill()


@pytest.mark.parametrize(
    ("delays", "outcome"),
    [((0.1, 0.1), Outcome.PASS), ((0.1, 0.0), Outcome.HARM)],
    ids=["both are slow", "the candidate is slow"],
)
async def test_both_are_asked_past_the_proxy_and_say_whose_fault_it_is(
    gateway: Gateway,
    bus: RedisTrafficBus,
    sessions: Sessions,
    postgres_url: str,
    delays: tuple[float, float],
    outcome: Outcome,
) -> None:
    judging = StepJudging(POLICY, weight=TOTAL_WEIGHT, reference=BEFORE, prior_evidence={})
    async with at_full(gateway, bus, sessions, postgres_url, delays=delays) as looking:
        asked = 0

        async def is_said() -> bool:
            nonlocal asked
            look = await looking.observe()
            if look.concurrent is None or look.concurrent.asked == asked:
                return False
            asked = look.concurrent.asked
            judging.add(look)
            return asked >= 20

        await until(is_said, every=0.05)
        look = await looking.observe()
        judging.add(look)
    verdict = judging.verdict()
    assert verdict.outcome is outcome, verdict.message
    assert (look.candidate.completed, look.stable.completed) == (REQUESTS, 0), "what is asked again is in no figure"
    assert verdict.concurrent is not None
    assert verdict.concurrent.candidate.requests <= REQUESTS // 2
