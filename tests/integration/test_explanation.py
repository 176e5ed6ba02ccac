"""Explain: what is on record is told in order, with who, why and the numbers, and without any worker."""

import time
from typing import Any

from hotswap.domain.analysis import BakeRecord, JudgeName
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import ArmFigures, ConcurrentFigures, MetricResult, Outcome, Reason, Verdict
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.deployments.deployments import PostgresDeployments
from tests.integration.api_world import ApiWorld

S = DeploymentStatus

SEEN = ArmFigures(requests=200, errors=3, latency_p50_ms=1.5, latency_p95_ms=3.0)


async def deployed(world: ApiWorld, **body: Any) -> str:
    """Asked for, and opened as its workflow would: no worker runs."""
    await world.add_version("1.0.0")
    answer = await world.deploy(**body)
    assert answer.status_code == 202, answer.text
    deployment_id: str = answer.json()["deploymentId"]
    await PostgresDeployments(world.sessions).open(deployment_id, run_id=f"run-of-{deployment_id}")
    return deployment_id


async def moved(world: ApiWorld, deployment_id: str, *statuses: DeploymentStatus, reason: str | None = None) -> None:
    for status in statuses:
        await PostgresDeployments(world.sessions).transition(
            deployment_id, status, message=f"now {status}", reason=reason, actor="hotswap"
        )


async def weighted(world: ApiWorld, deployment_id: str, weight: int) -> float:
    await PostgresDeployments(world.sessions).record_weight(
        deployment_id, verified_weight=weight, progress=0, message=f"{weight / 100:g}% verified at envoy-0, envoy-1"
    )
    return time.time()


async def judged(
    world: ApiWorld, deployment_id: str, bake: BakeRecord, outcome: Outcome, reason: Reason | None
) -> None:
    errors = MetricResult(
        "errors", JudgeName.BETA_MIXTURE, outcome, "as seen", {"excess": 0.02}, reason=reason, log_evidence=5.5
    )
    concurrent = ConcurrentFigures(SEEN, SEEN, "the stable is gone") if bake.weight == TOTAL_WEIGHT else None
    verdict = Verdict(
        outcome,
        "as seen",
        reason,
        candidate=SEEN,
        stable=SEEN,
        metrics=(errors,),
        missing=("envoy-1",),
        concurrent=concurrent,
    )
    await PostgresObservations(world.sessions).record(deployment_id, bake, verdict)


async def test_what_was_never_judged_is_told_too(world: ApiWorld) -> None:
    deployment_id = await deployed(world)
    await moved(world, deployment_id, S.VALIDATING, S.FAILED, reason=Reason.VALIDATION_FAILED)
    answer = await world.get(f"/api/v1/deployments/{deployment_id}/explain")
    assert answer.status_code == 200, answer.text
    assert answer.json()["happenings"][-1]["what"] == "Failed (ValidationFailed)"


async def test_a_rollout_that_went_back_is_told_in_order_with_numbers_and_reasons(world: ApiWorld) -> None:
    config = {"canaryPercentage": 10, "rollbackThresholds": {"errorRateIncrease": 0.005}}
    deployment_id = await deployed(world, strategyConfig=config)
    deployments = PostgresDeployments(world.sessions)
    await deployments.approve(deployment_id, step=0, by="carl", claimed=True)
    await moved(world, deployment_id, S.VALIDATING, S.DEPLOYING, S.PROGRESSING)
    begun = await weighted(world, deployment_id, 1_000)
    await judged(world, deployment_id, BakeRecord(0, begun, 1_000), Outcome.PASS, None)
    begun = await weighted(world, deployment_id, 2_500)
    await deployments.record_decision(
        deployment_id, decision_id="1", kind="pause", actor="bob", message="pause: looking into p99"
    )
    await judged(world, deployment_id, BakeRecord(1, begun, 2_500), Outcome.HARM, Reason.ERROR_RATE)
    await moved(world, deployment_id, S.ROLLING_BACK, reason=Reason.ERROR_RATE)
    # A watch that is late changes what was judged, and not what came of it.
    await judged(world, deployment_id, BakeRecord(1, begun, 2_500), Outcome.HARM, Reason.ERROR_RATE)
    await weighted(world, deployment_id, 0)
    await moved(world, deployment_id, S.ROLLED_BACK, reason=Reason.ERROR_RATE)

    told = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).json()

    assert (told["status"], told["reason"], told["version"]) == ("RolledBack", "ErrorRateIncreased", "1.0.0")
    assert [(each["kind"], each["actor"], each["what"]) for each in told["happenings"]] == [
        ("word", "ann", "request rollout"),
        ("approval", "carl", "approved the start under a name that was not checked"),
        ("status", "hotswap", "Validating"),
        ("status", "hotswap", "Deploying"),
        ("status", "hotswap", "Progressing"),
        ("weight", "hotswap", "10% of the traffic is verified"),
        ("analysis", "hotswap", "step 1 judged at 10%: Pass"),
        ("weight", "hotswap", "25% of the traffic is verified"),
        ("word", "bob", "pause"),
        ("analysis", "hotswap", "step 2 judged at 25%: Harm"),
        ("status", "hotswap", "RollingBack (ErrorRateIncreased)"),
        ("weight", "hotswap", "0% of the traffic is verified"),
        ("status", "hotswap", "RolledBack (ErrorRateIncreased)"),
    ]
    assert told["happenings"][5]["why"] == "10% verified at envoy-0, envoy-1"
    assert told["happenings"][8]["why"] == "pause: looking into p99"
    passed, harmed = (each["analysis"] for each in told["happenings"] if each["analysis"])
    assert passed["ledTo"] == "goes on to 25%: 25% verified at envoy-0, envoy-1"
    assert harmed["ledTo"] == "RollingBack: now RollingBack"
    assert harmed["candidate"]["errorRate"] == 0.015
    assert harmed["missingProxies"] == ["envoy-1"]
    (metric,) = harmed["metrics"]
    assert (metric["threshold"], metric["logEvidence"], metric["numbers"]) == (0.005, 5.5, {"excess": 0.02})


async def test_an_analysis_that_nothing_has_come_of_says_so(world: ApiWorld) -> None:
    deployment_id = await deployed(world)
    await moved(world, deployment_id, S.VALIDATING, S.DEPLOYING, S.PROGRESSING)
    begun = await weighted(world, deployment_id, 1_000)
    await judged(world, deployment_id, BakeRecord(0, begun, 1_000), Outcome.INSUFFICIENT_DATA, None)
    told = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).json()
    assert told["happenings"][-1]["what"] == "step 1 judged at 10%: InsufficientData"
    assert told["happenings"][-1]["analysis"]["ledTo"] is None


async def test_at_100_percent_what_both_were_asked_again_is_told(world: ApiWorld) -> None:
    deployment_id = await deployed(world)
    await moved(world, deployment_id, S.VALIDATING, S.DEPLOYING, S.PROGRESSING)
    for step, weight in enumerate((1_000, TOTAL_WEIGHT)):
        begun = await weighted(world, deployment_id, weight)
        await judged(world, deployment_id, BakeRecord(step, begun, weight), Outcome.PASS, None)
    told = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).json()
    canary, full = (each["analysis"]["concurrent"] for each in told["happenings"] if each["analysis"])
    assert canary is None
    assert (full["candidate"]["requests"], full["stable"]["latencyP50Ms"]) == (200, 1.5)
    assert full["reason"] == "the stable is gone"
    seen = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()
    assert [each["concurrent"] for each in seen["analysis"]] == [None, full]


async def test_a_deployment_that_is_not_there_is_404(world: ApiWorld) -> None:
    answer = await world.get("/api/v1/deployments/dep-0/explain")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DEPLOYMENT_NOT_FOUND")
