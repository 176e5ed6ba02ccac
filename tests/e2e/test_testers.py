"""Testers on the real stack: they find what validation missed, before anybody else meets it."""

from collections.abc import Callable

import psycopg
import pytest

from hotswap.cli.demo.models import BAND_WIDTH, BANDS, TrainedModels
from hotswap.client import ApiError
from hotswap.domain.lifecycle import DeploymentStatus as S
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack
from tests.fixtures.work import ended, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

TESTERS_FIRST = {"steps": [{"weight": 0, "bake": "PT0S", "pause": True}, {"weight": 50}]}


@pytest.fixture(scope="module")
def tested(stack: Stack, register: Callable[[str, str], None]) -> str:
    for version in ("1.0.0", "3.0.0"):
        register("tested", version)
    first = ended(stack, stack.api.deploy("tested", version="1.0.0").deployment_id)
    assert first.status is S.ACTIVE, first.message
    return "tested"


def test_a_tester_finds_the_broken_version_and_nobody_else_ever_met_it(
    stack: Stack, tested: str, trained: TrainedModels
) -> None:
    breaks = next(row for row in trained.requests if row[0] >= BAND_WIDTH * BANDS)
    works = next(row for row in trained.requests if row[0] < BAND_WIDTH * BANDS)
    foreseen = stack.api.dry_run(tested, version="3.0.0", config=TESTERS_FIRST)
    assert foreseen.would_be_accepted
    assert [(step.weight, step.pause is not None) for step in foreseen.steps] == [(0, True), (50, False), (100, False)]
    assert "version" in {each.path for each in foreseen.differences}
    with under_load(stack, tested, trained) as traffic:
        deployment_id = stack.api.deploy(tested, version="3.0.0", config=TESTERS_FIRST).deployment_id
        wait_until(lambda: stack.api.deployment(deployment_id).status is S.PAUSED, seconds=60, what="the pause at 0")
        good = stack.api.infer(tested, works, tester=True)
        assert good.version == "3.0.0"
        with pytest.raises(ApiError) as found:
            stack.api.infer(tested, breaks, tester=True)
        assert found.value.code == "INFERENCE_ERROR"
        stack.api.abort(deployment_id, reason="a tester found it broken")
        last = ended(stack, deployment_id)
        assert stack.api.infer(tested, breaks, tester=True).version == "1.0.0", "there is no candidate any more"
    assert (last.status, last.reason, last.analysis) == (S.CANCELLED, "Aborted", [])
    assert {answer.version for answer in traffic.answers} == {"1.0.0"}
    assert all(answer.succeeded for answer in traffic.answers)
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        query = "SELECT DISTINCT version, arm, chosen_by, status FROM inference_requests WHERE model_name = 'tested'"
        wait_until(lambda: len(database.execute(query).fetchall()) == 3, what="the records of both arms")
        assert set(database.execute(query).fetchall()) == {
            ("1.0.0", "stable", "weight", "Completed"),
            ("3.0.0", "candidate", "tester", "Completed"),
            ("3.0.0", "candidate", "tester", "Failed"),
        }
