"""A deployment as the API shows it."""

from datetime import UTC, datetime, timedelta

import pytest

from hotswap.deployments.views import deployment_view
from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import Deployment, StepVerdict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy

VERIFIED = datetime(2030, 1, 1, tzinfo=UTC)
PLANNED, EXTENDED = VERIFIED + timedelta(seconds=60), VERIFIED + timedelta(seconds=150)


def row(*analysis: StepVerdict) -> Deployment:
    return Deployment(
        deployment_id="dep-1",
        model_id="mdl-1",
        model="m",
        version="2.0.0",
        previous_version="1.0.0",
        environment=Environment.PRODUCTION,
        strategy=Strategy.CANARY,
        strategy_config={"steps": [{"weight": 10}, {"weight": 50}], "monitoringDuration": "PT60S"},
        resources=ReplicaResources(),
        kind=DeploymentKind.ROLLOUT,
        status=DeploymentStatus.PROGRESSING,
        progress_percentage=0,
        verified_weight=1_000,
        verified_at=VERIFIED,
        workflow_id="deployment/Production/m",
        run_id="run-1",
        initiated_by="ann",
        started_at=VERIFIED,
        analysis=analysis,
    )


def judged(at: datetime, until: datetime | None, *, step: int = 0) -> StepVerdict:
    bake_until = None if until is None else until.timestamp()
    return StepVerdict(step, Verdict(Outcome.INCONCLUSIVE, message="m", bake_until=bake_until), at)


BEFORE, AFTER = VERIFIED - timedelta(seconds=1), VERIFIED + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("analysis", "ends"),
    [
        pytest.param([], PLANNED, id="as planned"),
        pytest.param([judged(AFTER, PLANNED)], PLANNED, id="not extended"),
        pytest.param([judged(AFTER, EXTENDED)], EXTENDED, id="extended"),
        pytest.param([judged(AFTER, None)], PLANNED, id="held"),
        pytest.param([judged(AFTER, EXTENDED, step=1)], PLANNED, id="another step's"),
        pytest.param([judged(BEFORE, EXTENDED)], PLANNED, id="an earlier analysis of the step"),
        pytest.param([judged(BEFORE, EXTENDED), judged(AFTER, PLANNED)], PLANNED, id="and the present one"),
    ],
)
def test_a_bake_ends_as_planned_or_as_far_as_it_is_extended(analysis: list[StepVerdict], ends: datetime) -> None:
    assert deployment_view(row(*analysis)).bake_ends_at == ends
