"""`/metrics` over real rows, and what Redis adds."""

import time

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from temporalio.worker import Worker

from hotswap.domain.traffic import ProxyReport
from hotswap.inference.records import STREAM
from hotswap.persistence.monitoring.gauges import RedisGauges
from hotswap.persistence.recorder import DEAD
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.patience import until
from tests.integration.api_world import ApiWorld


async def test_a_deployment_is_seen_from_its_start_to_its_end(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = (await world.deploy()).json()["deploymentId"]

    async def figures() -> dict[str, dict[str, float]]:
        answer = await world.get("/metrics")
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[",".join(sorted(sample.labels.values()))] = sample.value
        return found

    await until(lambda: world.was_opened(deployment_id))
    now = await figures()
    assert now["hotswap_source_up"] == {"postgresql": 1}
    assert sum(now["hotswap_deployments"].values()) == 1
    assert "hotswap_deployments_ended_total" not in now
    whose = ",".join(sorted(["Production", world.model, "1.0.0", deployment_id]))
    assert now["hotswap_deployment_weight_ratio"] == {whose: 0}
    (begun,) = now["hotswap_deployment_started_timestamp_seconds"].values()
    assert abs(begun - time.time()) < 60

    await world.say(deployment_id, "abort")
    await world.ends(deployment_id)
    then = await figures()
    assert "hotswap_deployment_weight_ratio" not in then
    assert then["hotswap_deployments_ended_total"] == {"Aborted,Cancelled,Production": 1}
    assert (
        abs(then["hotswap_deployments_last_ended_timestamp_seconds"]["Aborted,Cancelled,Production"] - time.time()) < 60
    )


async def test_proxies_and_the_backlog_of_records_are_told_of(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushdb()
        empty = {gauge.name: list(gauge.values) for gauge in await RedisGauges(redis).read()}
        assert empty["hotswap_record_batches_waiting"] == empty["hotswap_records_set_aside_total"] == [((), 0)]
        assert empty["hotswap_proxy_problem"] == []
        bus = RedisTrafficBus(redis)
        await bus.report(ProxyReport("envoy-0", 7, 1000.0))
        await bus.report(ProxyReport("envoy-1", 6, 1001.5, problem="it refused a file"))
        for _ in range(3):
            await redis.xadd(STREAM, {"records": b""})
            await redis.xadd(DEAD, {"record": b""}, maxlen=1)
        times = iter([100.0, 107.5])
        gauges = RedisGauges(redis, stopwatch=lambda: next(times))
        await gauges.read()
        await bus.report(ProxyReport("envoy-0", 7, 1000.5))
        found = {gauge.name: dict(gauge.values) for gauge in await gauges.read()}
        await redis.flushdb()
    assert found == {
        "hotswap_proxy_silent_seconds": {("envoy-0",): 0, ("envoy-1",): 7.5},
        "hotswap_proxy_reported_timestamp_seconds": {("envoy-0",): 1000.5, ("envoy-1",): 1001.5},
        "hotswap_proxy_generation": {("envoy-0",): 7, ("envoy-1",): 6},
        "hotswap_proxy_problem": {("envoy-0",): False, ("envoy-1",): True},
        "hotswap_record_batches_waiting": {(): 3},
        "hotswap_records_set_aside_total": {(): 3},
    }
