"""A version that fails what clients really ask ends before any of them meets it, and a good one goes on."""

from collections.abc import Callable

import psycopg
import pytest

from hotswap.cli.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import ended, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "tried"
CANARY = {"canaryPercentage": 50, "monitoringDuration": "PT3S", "rollbackThresholds": {"latencyIncrease": 100}}
RECORDS = "SELECT count(*), count(*) FILTER (WHERE version = '3.0.0') FROM inference_requests WHERE model_name = %s"


def test_what_clients_have_asked_shows_a_broken_version_before_they_meet_it(
    stack: Stack, register: Callable[[str, str], None], trained: TrainedModels
) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        register(MODEL, version)
    first = ended(stack, stack.api.deploy(MODEL, version="1.0.0").deployment_id)
    assert first.status is S.ACTIVE, first.message
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:

        def recorded() -> tuple[int, int]:
            found = database.execute(RECORDS, [MODEL]).fetchone()
            assert found is not None
            return found[0], found[1]

        with under_load(stack, MODEL, trained) as traffic:
            wait_until(lambda: recorded()[0] >= 200, seconds=60, what="records to ask again")
            broken = ended(stack, stack.api.deploy(MODEL, version="3.0.0", config=CANARY).deployment_id)
            good = ended(stack, stack.api.deploy(MODEL, version="2.0.0", config=CANARY).deployment_id)
        assert (broken.status, broken.reason) == (S.FAILED, "BacktestFailed"), broken.message
        assert broken.validation is not None
        assert broken.validation.passed, "its golden requests show nothing of it"
        assert broken.backtest is not None
        assert broken.backtest.failures.hits > 10, "some fifth of what is asked"
        assert broken.backtest.failure_kinds[0].name == "500"
        assert good.status is S.ACTIVE, good.message
        assert good.backtest is not None
        assert (good.backtest.refusals.hits, good.backtest.failures.hits) == (0, 0)
        assert [timing.at_once for timing in good.backtest.timings] == [1, 8]
        assert {answer.version for answer in traffic.answers} == {"1.0.0", "2.0.0"}
        assert not [answer for answer in traffic.answers if not answer.succeeded]
        answered = len(traffic.answers)
        wait_until(lambda: recorded()[0] >= answered, what="a record of each answer")
        assert recorded() == (answered, 0), "what a backtest asks has no record, of either version"
    told = hotswap("explain", broken.deployment_id, data=stack.data).stdout
    assert broken.backtest.failure_kinds[0].examples[0] in told
