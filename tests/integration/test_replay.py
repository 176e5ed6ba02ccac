"""Replay on PostgreSQL: what a real watch recorded comes, under the same policy, to the verdicts that were recorded."""

import time
from typing import Any

import msgspec
import pytest
from temporalio.testing import ActivityEnvironment

from activities.analysis import AnalysisActivities
from activities.observations import Sources
from hotswap.analysis.judge import StepJudging
from hotswap.analysis.replay import replay
from hotswap.domain.analysis import Entities, Subject
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, ProxyReport
from hotswap.domain.verdict import Verdict
from hotswap.domain.vocabulary import Role
from hotswap.messages import VerifiedWeight, Watch
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.deployments.history import PostgresHistory
from hotswap.schemas.strategy import CanaryConfig
from tests.fixtures.reports import ReportsOnly
from tests.integration.api_world import ApiWorld
from tests.integration.test_explanation import deployed

CONFIG = {
    "steps": [{"weight": 20}, {"weight": 50}],
    "monitoringDuration": "PT1.5S",
    "bakeDeadline": "PT2.5S",
    "minimumRequests": 50,
    "pauseDeadline": None,
}


class Traffic(ReportsOnly):
    """Proxies that answer so many requests a second, split as the weight says, so many of the candidate's wrongly."""

    def __init__(self, *, rate: float, weight: int, wrong: float) -> None:
        self.rate, self.share, self.wrong, self.begun = rate, weight / TOTAL_WEIGHT, wrong, time.time()

    async def reports(self) -> list[ProxyReport]:
        now = time.time()
        seen = self.rate * (now - self.begun)
        mine, theirs = round(seen * self.share), round(seen * (1 - self.share))
        candidate = Counts(completed=mine, server_errors=round(self.wrong * mine), latency={"5000": mine})
        stable = Counts(completed=theirs, latency={"4000": theirs})
        return [ProxyReport("envoy-0", 1, now, {"candidate": candidate, "stable": stable})]


class Nobody:
    async def entities(self, subject: Subject) -> Entities:
        return Entities()


async def watched(world: ApiWorld, deployment_id: str, config: CanaryConfig, rates: list[tuple[float, float]]) -> None:
    """Each step watched in real time as the workflow has it watched, with the evidence of those before it."""
    evidence: dict[str, float] = {}
    for position, (step, (rate, wrong)) in enumerate(zip(config.plan(), rates, strict=False)):
        begun = time.time()
        watching = AnalysisActivities(
            Sources(Traffic(rate=rate, weight=step.weight, wrong=wrong), {}, Nobody()),
            PostgresObservations(world.sessions),
            StepJudging,
        )
        subject = Subject(
            deployment_id, "Production", world.model, "candidate", "stable", "2.0.0", "1.0.0", step.weight, begun
        )
        verdict: Verdict = await ActivityEnvironment().run(
            watching.watch,
            Watch(
                subject=subject,
                step=position,
                baseline=VerifiedWeight(weight=step.weight, verified_at=begun, proxies=("envoy-0",)),
                reference=Counts(completed=500, latency={"4000": 500}) if step.weight == TOTAL_WEIGHT else None,
                prior_evidence=evidence,
                policy=config.analysis_policy(),
                bake_until=begun + step.bake_seconds,
                deadline=begun + step.deadline_seconds,
            ),
        )
        evidence = verdict.evidence


@pytest.mark.parametrize(
    ("rates", "ends"),
    [
        ([(600, 0.004), (600, 0.004), (600, 0.0)], ["Passed", "Passed", "Passed"]),
        ([(600, 0.0), (600, 0.3)], ["Passed", "RolledBack"]),
        ([(5, 0.0)], ["RolledBack"]),
    ],
    ids=["good", "bad", "lacks data"],
)
async def test_the_same_policy_comes_to_the_recorded_verdicts(
    world: ApiWorld, rates: list[tuple[float, float]], ends: list[str]
) -> None:
    deployment_id = await deployed(world, strategyConfig=CONFIG)
    config = CanaryConfig.model_validate(CONFIG)
    await watched(world, deployment_id, config, rates)

    bakes = await PostgresObservations(world.sessions).bakes(deployment_id)
    again = replay(bakes, policy=config.analysis_policy(), steps=config.plan(), rules=config.rules())
    recorded = (await PostgresHistory(world.sessions).record(deployment_id)).analyses

    assert [each.end for each in again] == ends
    assert [as_stored(each.verdict) for each in again] == [each.verdict for each in recorded]
    for each in again:
        assert each.after_seconds == each.bake.observations[-1].at - each.bake.begun_at, (
            "at the observation that the watch ended by"
        )


def as_stored(verdict: Verdict | None) -> Verdict:
    return msgspec.convert(msgspec.to_builtins(verdict), Verdict)


async def test_another_policy_is_asked_for_through_the_api(world: ApiWorld) -> None:
    deployment_id = await deployed(world, strategyConfig=CONFIG)
    await watched(world, deployment_id, CanaryConfig.model_validate(CONFIG), [(600, 0.3)])

    async def asked(**config: Any) -> dict[str, Any]:
        answer = await world.say(deployment_id, "replay", strategyConfig=config)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    same = await asked()
    assert (same["end"], same["steps"][0]["recorded"], same["steps"][0]["outcome"]) == ("RolledBack", "Harm", "Harm")
    assert same["steps"][0]["reason"] == "ErrorRateIncreased"
    lenient = await asked(rollbackThresholds={"errorRateIncrease": 0.9})
    assert (lenient["end"], lenient["steps"][0]["end"]) == ("NotKnown", "NotKnown"), "it was rolled back at once"
    wrong = await world.say(deployment_id, "replay", strategyConfig={"minimumRequests": 0})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert wrong.json()["error"]["details"][0]["field"] == "strategyConfig.minimumRequests"
    stranger = await world.http.post(
        f"/api/v1/deployments/{deployment_id}/replay", headers=world.token(Role.VIEWER), json={}
    )
    assert stranger.status_code == 403
