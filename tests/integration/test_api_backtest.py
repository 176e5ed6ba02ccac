"""A backtest's report, kept with its deployment and told by the API without any worker."""

import time

import pytest

from hotswap.analysis.backtest import compare
from hotswap.domain.backtest import AskedRequest, RecordedRequest, RecordedSample, Reply, ReplyKind
from hotswap.domain.vocabulary import RequestForm
from hotswap.persistence.analysis.backtests import PostgresBacktests
from tests.integration.api_world import ApiWorld
from tests.integration.test_explanation import deployed

NOW = time.time()


async def test_a_report_is_kept_and_told_wherever_a_deployment_is(world: ApiWorld) -> None:
    deployment_id = await deployed(world)
    assert (await world.get(f"/api/v1/deployments/{deployment_id}")).json()["backtest"] is None
    asked = [
        AskedRequest(
            RecordedRequest(f"r-{number}", RequestForm.INSTANCE, ([4_111],), (1,), NOW),
            (Reply(ReplyKind.REFUSED, 0.001, field="features.card"),),
        )
        for number in range(40)
    ]
    recorded = RecordedSample(tuple(each.request for each in asked))
    report = compare(recorded, asked, wanted=200, tolerance=None, at=NOW)
    await PostgresBacktests(world.sessions).store(deployment_id, report)

    seen = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()["backtest"]
    assert seen["refusals"] == {"hits": 40, "of": 40, "atLeast": pytest.approx(0.876, abs=0.001)}
    assert seen["refusedFields"] == [{"name": "features.card", "hits": 40, "of": 40, "examples": ["r-0", "r-1", "r-2"]}]
    assert "refused for features.card: 40 of 40, such as r-0, r-1, r-2" in seen["findings"]
    told = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).json()["happenings"]
    (happening,) = (each for each in told if each["kind"] == "backtest")
    assert happening["backtest"] == seen
    assert happening["why"] == seen["summary"]
    assert "4111" not in str(told)
