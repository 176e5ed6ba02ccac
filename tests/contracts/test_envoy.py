"""Envoy: the names under which it tells what it has taken and what it has counted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment
from hotswap.traffic.bus import KEYS, RedisTrafficBus
from serving.envoy.files import write_resources
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.patience import patient
from tests.fixtures.traffic import CANDIDATE, STABLE, plan

pytestmark = pytest.mark.relied_on_by("serving/envoy/admin.py", "serving/envoy/gateway.py", "serving/agent.py")

ARM = Arm("Production-fraud-aaaa", "1.0.0", "dep-aaaa")


class Answering:
    """An Envoy with a real agent; its one replica is exchanged for one that answers as it is to."""

    def __init__(self, gateway: Gateway, admin: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.admin = admin
        self.upstreams: list[Upstream] = []

    async def ask(self, status: int) -> None:
        """One request, answered with this status."""
        upstream = await Upstream.start("replica", status=status)
        self.upstreams.append(upstream)
        self.gateway.serve.targets = {ARM.application: (upstream.target,)}
        async with asyncio.timeout(patient(10)):
            while upstream.target not in (await self.admin.get("/clusters")).text:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # by then Envoy has let go of the cluster as it was before
        assert (await self.gateway.infer("fraud")).status_code == status

    async def stats(self) -> list[dict[str, Any]]:
        answer = await self.admin.get("/stats?usedonly&format=json&histogram_buckets=detailed")
        found: list[dict[str, Any]] = answer.json()["stats"]
        return found

    async def counters(self) -> dict[str, int]:
        """By status, of the one application."""
        prefix = f"hotswap.hotswap_answers.application.{ARM.application}.status."
        return {
            entry["name"].removeprefix(prefix): entry["value"]
            for entry in await self.stats()
            if entry.get("name", "").startswith(prefix)
        }

    async def latencies(self) -> list[dict[str, float]]:
        """Of the one cluster: `totals` is since the start, in microseconds."""
        [histograms] = [entry["histograms"] for entry in await self.stats() if "histograms" in entry]
        [ours] = [each for each in histograms["details"] if each["name"].rpartition(".")[2] == ARM.application]
        assert "hotswap_latency" in ours["name"]
        totals: list[dict[str, float]] = ours["totals"]
        return totals


@dataclass
class Fallen:
    """What an Envoy told of 16 requests to a candidate that failed some: `answered_by` with the number of the try."""

    answered_by: Counter[tuple[str, str]]
    counters: dict[str, int]
    latencies: dict[str, int]


@pytest.fixture
async def fallen(gateway: Gateway, bus: RedisTrafficBus) -> AsyncIterator[Fallen]:
    """The candidate has all traffic, and of its two replicas one fails."""
    stable, good = [await Upstream.start(arm.application) for arm in (STABLE, CANDIDATE)]
    failing = await Upstream.start(CANDIDATE.application, status=500)
    gateway.serve.targets = {
        STABLE.application: (stable.target,),
        CANDIDATE.application: (good.target, failing.target),
    }
    async with (
        gateway.agent(),
        httpx.AsyncClient(base_url=gateway.settings.agent.envoy_admin_url, timeout=patient(30)) as admin,
    ):
        await gateway.publish(bus, plan(1, TOTAL_WEIGHT))
        seen = [(await gateway.infer("fraud")).json() for _ in range(16)]
        for _ in range(2):  # latencies are merged by the first look, and told by the second
            stats = (await admin.get("/stats?usedonly&format=json&histogram_buckets=detailed")).json()["stats"]
            await asyncio.sleep(0.5)
    histograms = [each for entry in stats for each in entry.get("histograms", {}).get("details", ())]
    yield Fallen(
        Counter((each["from"], each["headers"]["x-envoy-attempt-count"]) for each in seen),
        {entry["name"]: entry["value"] for entry in stats if "hotswap_answers" in entry.get("name", "")},
        {each["name"].rpartition(".")[2]: sum(bucket["count"] for bucket in each["totals"]) for each in histograms},
    )
    for upstream in (stable, good, failing):
        await upstream.kill()


@pytest.fixture
async def answering(gateway: Gateway, valkey_url: str) -> AsyncIterator[Answering]:
    async with (
        Redis.from_url(valkey_url) as redis,
        httpx.AsyncClient(base_url=gateway.settings.agent.envoy_admin_url, timeout=patient(30)) as admin,
    ):
        await redis.delete(*KEYS)
        subject = Answering(gateway, admin)
        async with gateway.agent():
            route = Route(Environment.PRODUCTION, "fraud", ARM, None, 0, Fence(1, 1))
            await gateway.publish(RedisTrafficBus(redis), TrafficPlan(1, (route,)))
            await subject.ask(200)
            yield subject
    for upstream in subject.upstreams:
        await upstream.kill()


async def test_the_names_of_what_it_has_taken(answering: Answering) -> None:
    text = (await answering.admin.get("/stats?usedonly")).text
    said = dict(line.split(": ", 1) for line in text.splitlines())
    for name in (
        "cluster_manager.cds.version_text",
        "http.gateway.rds.gateway.version_text",
        "extension_config_discovery.http_filter.envoy.filters.http.jwt_authn.version_text",
    ):
        assert len(said[name].strip('"')) == 16, f"{name} repeats our own version: {said[name]}"
    assert said["cluster_manager.warming_clusters"] == "0"


async def test_the_names_of_what_it_has_counted(answering: Answering) -> None:
    assert await answering.counters() == {"200": 1}
    [uptime] = [entry["value"] for entry in await answering.stats() if entry.get("name") == "server.uptime"]
    assert uptime > 0


@pytest.mark.relied_on_by("serving/envoy/access_log_stats.py", "serving/counting.py")
async def test_when_replicas_change_it_forgets_no_answer_and_no_latency(answering: Answering) -> None:
    await answering.ask(400)
    await answering.ask(500)
    assert await answering.counters() == {"200": 1, "400": 1, "500": 1}
    assert sum(bucket["count"] for bucket in await answering.latencies()) == 1


async def test_the_shape_of_latencies(answering: Answering) -> None:
    await answering.ask(400)
    totals = await answering.latencies()
    assert sum(bucket["count"] for bucket in totals) == 1, "refusals and failures say nothing about a model"
    assert all({"lower_bound", "width", "count"} <= bucket.keys() for bucket in totals)


@pytest.mark.relied_on_by("serving/envoy/fallback.py")
async def test_a_composite_clusters_tries_go_to_its_entries_in_order_and_count_for_the_first_alone(
    fallen: Fallen,
) -> None:
    """A young extension: its entries, the filters that run for each of its tries, and a listener inside of Envoy."""
    assert fallen.answered_by.keys() == {(CANDIDATE.application, "1"), (STABLE.application, "5")}
    prefix = f"hotswap.hotswap_answers.application.{CANDIDATE.application}.status"
    assert fallen.counters == {
        f"{prefix}.200": fallen.answered_by[CANDIDATE.application, "1"],
        f"{prefix}.500": fallen.answered_by[STABLE.application, "5"],
    }


@pytest.mark.relied_on_by("serving/envoy/admin.py")
async def test_latencies_behind_a_composite_cluster_have_its_name_and_leave_out_what_fell_back(fallen: Fallen) -> None:
    answered = fallen.answered_by[CANDIDATE.application, "1"]
    assert fallen.latencies == {f"{CANDIDATE.application}@fallback": answered}


@pytest.mark.relied_on_by("tests/chaos/looking.py")
async def test_the_dump_shows_weights_under_their_clusters_names(answering: Answering) -> None:
    dump = (await answering.admin.get("/config_dump", params={"resource": "dynamic_route_configs"})).json()
    [entry] = dump["configs"]
    shown = {
        (cluster["name"], cluster["weight"])
        for host in entry["route_config"]["virtual_hosts"]
        for route in host["routes"]
        for cluster in route.get("route", {}).get("weighted_clusters", {}).get("clusters", ())
    }
    assert shown == {(ARM.application, 10_000)}, "the same for each form of request"


async def test_a_file_that_it_refuses_is_told_in_its_log_as_the_agent_looks_for_it(gateway: Gateway) -> None:
    write_resources(gateway.settings.agent.envoy_dir / "rds.json", [{"@type": "no.such/Type"}])
    log = gateway.settings.agent.envoy_log
    assert log is not None
    async with asyncio.timeout(patient(10)):
        while "Filesystem config update" not in log.read_text():
            await asyncio.sleep(0.05)
    answer = await gateway.http.get(f"{gateway.settings.agent.envoy_admin_url}/ready")
    assert answer.status_code == 200
