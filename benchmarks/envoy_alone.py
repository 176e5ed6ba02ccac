"""A weight change in Envoy alone: from the moved file until Envoy reports its version, with nothing of ours between."""

import asyncio
import time
from pathlib import Path

from benchmarks.figure import Figure, percentile
from benchmarks.world import scratch
from hotswap.domain.traffic import Arm, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment
from serving.envoy.admin import EnvoyAdmin
from serving.envoy.clusters import clusters
from serving.envoy.files import write_resources
from serving.envoy.gateway import CDS, RDS
from serving.envoy.routes import route_configuration
from tests.fixtures.envoy import Gateway

CHANGES = 100


def measure() -> list[Figure]:
    with scratch() as place:
        seconds = asyncio.run(_change_weights(place))
    return [
        Figure(
            name="weight change in Envoy alone, p50",
            measured=percentile(seconds, 50) * 1000,
            bar=5,
            unit="ms",
            beside=f"{CHANGES} changes, p99 {percentile(seconds, 99) * 1000:.1f} ms",
        )
    ]


async def _change_weights(place: Path) -> list[float]:
    gateway = Gateway(place, "127.0.0.1:9", "redis://unused")
    admin = EnvoyAdmin(gateway.settings.agent.envoy_admin_url)
    directory = gateway.settings.agent.envoy_dir
    arms = Arm("stable", "1.0.0", "dep-1"), Arm("candidate", "2.0.0", "dep-2")
    try:
        await gateway.start_envoy()
        targets = {arm.application: ("127.0.0.1:9",) for arm in arms}
        version = write_resources(directory / CDS, clusters(targets, api="127.0.0.1:9"))
        while (await admin.accepted_versions()).cds != version:
            pass
        seconds = []
        for weight in range(100, 100 * (CHANGES + 1), 100):
            plan = TrafficPlan(weight, (_route(*arms, weight),))
            begun = time.perf_counter()
            version = write_resources(directory / RDS, [route_configuration(plan)])
            while (await admin.accepted_versions()).rds != version:
                pass
            seconds.append(time.perf_counter() - begun)
        return seconds
    finally:
        await admin.aclose()
        await gateway.close()


def _route(stable: Arm, candidate: Arm, weight: int) -> Route:
    return Route(Environment.PRODUCTION, "model", stable, candidate, weight, Fence(1, weight))
