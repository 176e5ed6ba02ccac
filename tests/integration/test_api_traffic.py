"""What the traffic agents are given and say while Redis is away."""

import msgspec

from hotswap.domain.traffic import Arm, Counts, ProxyReport, TrafficChange, TrafficPlan
from hotswap.domain.vocabulary import Environment, Role
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from tests.integration.api_world import ApiWorld


async def test_the_plan_is_the_one_in_the_database(world: ApiWorld) -> None:
    arm = Arm("Production-fraud-1", "1.0.0", "dep-1")
    change = TrafficChange(Environment.PRODUCTION, "fraud", "dep-1", 1, arm, None, 0)
    plan = await PostgresTrafficPlans(world.sessions).apply(change, run_id="run-1")
    answer = await world.http.get("/internal/traffic/plan", headers=world.token(Role.TRAFFIC_AGENT))
    assert msgspec.json.decode(answer.content, type=TrafficPlan) == plan


async def test_a_report_is_kept_and_a_malformed_one_refused(world: ApiWorld) -> None:
    said = ProxyReport("envoy-0", 7, 1_700_000_000.5, {"app": Counts(completed=5, latency={"1000": 5})})
    headers = world.token(Role.TRAFFIC_AGENT)
    answer = await world.http.post("/internal/traffic/report", headers=headers, content=msgspec.json.encode(said))
    assert answer.status_code == 204
    assert [each.report for each in await PostgresTrafficPlans(world.sessions).proxies()] == [said]
    for malformed in (b"", b"[]", b'{"proxy": 1}', b"[" * 100_000):
        refused = await world.http.post("/internal/traffic/report", headers=headers, content=malformed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
