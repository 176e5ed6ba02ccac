"""A worker in a process of its own, for a test that kills it: `HOST:PORT NAMESPACE QUEUE`.

It runs a deployment until its backtest asks the first request, which is never answered; then it says so.
"""

import asyncio
import sys
import time

from temporalio.client import Client

from hotswap.domain.application import ReplicaResources
from hotswap.domain.traffic import Fence, Route, TrafficPlan
from hotswap.process.temporal import DATA_CONVERTER, INTERCEPTORS
from tests.workflows.conftest import ports_of
from tests.workflows.test_backtest import requests
from tests.workflows.test_capacity import spec
from tests.workflows.world import STABLE, World, rollout_brief
from workflows.worker import workers


async def main(address: str, namespace: str, queue: str) -> None:
    client = await Client.connect(
        address, namespace=namespace, data_converter=DATA_CONVERTER, interceptors=INTERCEPTORS
    )
    brief = rollout_brief()
    world = World(brief=brief, clock=time.time, recorded=requests(40), held_asking=True)
    world.route = Route(brief.environment, "fraud", STABLE, None, 0, Fence(0, 0))
    world.plan = TrafficPlan(1, (world.route,))
    world.serve(spec(STABLE, ReplicaResources()))
    running = [asyncio.create_task(worker.run()) for worker in workers(client, ports_of(world), task_queue=queue)]
    await world.reached.wait()
    print("asks", flush=True)  # noqa: T201 - for the test that kills it
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
