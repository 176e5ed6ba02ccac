"""A candidate that stops answering: the stable answers within its own time, and the candidate goes."""

import os
import signal
from contextlib import suppress

import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.application import application_name
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.requests import CreateDeployment
from tests.chaos import looking
from tests.chaos.test_records import ANSWERING, count, database
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(240)]

CANARY = {"canaryPercentage": 50, "monitoringDuration": "PT60S"}


def test_a_candidate_that_freezes_costs_no_answer_and_is_rolled_back(
    victim: Stack, served: str, trained: TrainedModels
) -> None:
    with under_load(victim, served, trained) as traffic:
        deployment_id = victim.api.deployments.start(
            CreateDeployment(model_id=served, version="2.0.0", strategy_config=CANARY)
        ).deployment_id
        reaches(victim, deployment_id, 50)
        [frozen] = looking.replicas_of(victim, {application_name(Environment.PRODUCTION, served, deployment_id)})
        os.kill(frozen, signal.SIGSTOP)
        try:
            last = ended(victim, deployment_id)
        finally:
            with suppress(ProcessLookupError):
                os.kill(frozen, signal.SIGCONT)  # it answers now what nobody awaits any more
    assert (last.status, last.reason) == (S.ROLLED_BACK, "ErrorRateIncreased")
    assert not [answer for answer in traffic.answers if not answer.succeeded]
    rescued = [answer.request_id for answer in traffic.answers if answer.fallback_from == "2.0.0"]
    assert rescued
    with database(victim) as connection:
        wait_until(lambda: count(connection, ANSWERING, ids=rescued) == len(rescued), what="the answering rows")
