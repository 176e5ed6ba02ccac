"""Many deployments of many models, over PostgreSQL and Temporal; only Ray, the proxies and the judge are fakes.

What runs is told by rows alone, so a worker can be killed and started again as a process of its own:
`python -m tests.workflows.many`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from pydantic import SecretStr

from hotswap.analysis.backtest import compare
from hotswap.analysis.judge import StepJudging
from hotswap.deployments.capacity import CapacityRules, Planner
from hotswap.domain.application import ApplicationHealth, ApplicationState, ArtifactRef, Desired
from hotswap.domain.registry import Inspection, Registration
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.domain.vocabulary import Framework
from hotswap.persistence.analysis.backtests import PostgresBacktests
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.analysis.sticky_callers import PostgresStickyCallers
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.capacity import PostgresCapacity
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.slots import PostgresConcurrencySlots
from hotswap.persistence.platform.database import Sessions, create_engine
from hotswap.persistence.platform.queue_notifications import PostgresQueueNotifications
from hotswap.persistence.registry.versions import PostgresRegistry
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.ports import Judge, ServeCluster
from hotswap.process.temporal import connect
from hotswap.settings import PostgresSettings
from tests.fixtures.rows import registrar
from tests.workflows.fake_serving import FakeAsker, FakeCluster, FakeInspector, FakeProbe
from tests.workflows.fakes import FakeBus
from tests.workflows.watchtower import FakeAlerts, FakeAnnouncer, FakeMonitor, FakeRollbacks
from tests.workflows.world import World, rollout_brief
from workflows.worker import Ports, workers

URL, QUEUE, LIMIT = "TEST_POSTGRES_URL", "TEST_TASK_QUEUE", "TEST_LIMIT"


class Cluster:
    """Runs whatever should run."""

    def __init__(self, sessions: Sessions) -> None:
        self._desired = PostgresApplications(sessions)

    async def put(self, applications: Sequence[Desired]) -> None:
        pass

    async def applications(self) -> dict[str, ApplicationState]:
        return {
            each.spec.name: ApplicationState(each.spec.name, ApplicationHealth.RUNNING, "", _addresses(each.replicas))
            for each in await self._desired.all()
        }


def _addresses(replicas: int) -> tuple[str, ...]:
    return tuple(f"127.0.0.1:{number + 1}" for number in range(replicas))


class Content(StepJudging):
    """Has nothing to complain of."""

    def verdict(self, *, is_over: bool = False) -> Verdict:
        return Verdict(Outcome.PASS, "nothing to complain of")


def ports(
    sessions: Sessions,
    *,
    limit: int,
    cluster: ServeCluster | None = None,
    proxies: World | None = None,
    judge: Judge = Content,
) -> Ports:
    """Of PostgreSQL whatever is kept there, of a world the rest."""
    proxies = proxies or World(brief=rollout_brief(), clock=time.time)
    cluster = cluster or Cluster(sessions)
    room = FakeCluster(proxies)
    return Ports(
        registrar=registrar(sessions),
        registry=PostgresRegistry(sessions),
        deployments=PostgresDeployments(sessions),
        plans=PostgresTrafficPlans(sessions),
        bus=FakeBus(proxies),
        applications=PostgresApplications(sessions),
        cluster=cluster,
        planner=Planner(PostgresCapacity(sessions), cluster, room, CapacityRules(cluster_grows=True)),
        inspector=FakeInspector(proxies),
        probe=FakeProbe(proxies),
        backtests=PostgresBacktests(sessions),
        asker=FakeAsker(proxies),
        compare=compare,
        judge=judge,
        observations=PostgresObservations(sessions),
        meters={},
        sticky_callers=PostgresStickyCallers(sessions),
        slots=PostgresConcurrencySlots(sessions, limit=limit),
        queue=PostgresDeploymentQueue(sessions),
        queue_notifications=PostgresQueueNotifications(sessions.engine),
        activation_history=PostgresActivationHistory(sessions),
        monitor=FakeMonitor(),
        alerts=FakeAlerts(),
        rollbacks=FakeRollbacks(),
        announcer=FakeAnnouncer(),
    )


async def register(sessions: Sessions, model: str, *versions: str) -> None:
    for number, version in enumerate(versions):
        uri = f"s3://ml-models/{model}/{version}.tar.gz"
        await registrar(sessions).add_version(
            Registration(model, version, Framework.ONNX, uri, requested_by="ann"),
            Inspection(ArtifactRef(uri, f"{number:064x}", 10), {"type": "array"}, {}),
        )


async def main() -> None:
    engine = create_engine(PostgresSettings(url=SecretStr(os.environ[URL])))
    given = ports(Sessions(engine), limit=int(os.environ[LIMIT]))
    client = await connect()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as running:
        for worker in workers(client, given, task_queue=os.environ[QUEUE]):
            await running.enter_async_context(worker)
        await stop.wait()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
