"""Applications as rows, and the one lease under which they are written to Ray Serve."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from temporalio.testing import ActivityEnvironment

from activities.replicas import ReplicaActivities
from hotswap.domain.application import ApplicationHealth, ApplicationState, Desired
from hotswap.persistence.deployments import applications
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.platform.database import Sessions
from tests.fixtures.patience import patient
from tests.fixtures.rows import spec
from tests.workflows.fake_serving import FakeProbe
from tests.workflows.world import World, rollout_brief


async def test_what_is_set_aside_is_left_out(sessions: Sessions) -> None:
    desired = PostgresApplications(sessions)
    for name in ("b", "a", "a"):
        await desired.add(Desired.at_rest(spec(name)))
    await desired.set_aside("b", "it makes the PUT fail")
    assert await desired.all() == [Desired.at_rest(spec("a"))]
    await desired.remove("a")
    assert await desired.all() == []


async def test_the_lease_has_one_holder_and_a_late_one_learns_that_it_lost(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = PostgresApplications(sessions)
    async with desired.writer_lease("first") as lease:
        assert 15 - patient(5) < await lease.remaining() <= 15
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patient(0.5)), desired.writer_lease("second"):
                pass
    monkeypatch.setattr(applications, "LEASE_SECONDS", 0)
    async with desired.writer_lease("frozen") as lost:
        await asyncio.sleep(0.05)
        async with desired.writer_lease("quicker"):
            assert await lost.remaining() == 0


class SlowServe:
    """Runs what was PUT last and nothing else, as Ray Serve does; a PUT takes a while."""

    def __init__(self) -> None:
        self.running: tuple[str, ...] = ()
        self.writers = 0
        self.most_writers = 0

    async def put(self, applications: Sequence[Desired]) -> None:
        self.writers += 1
        self.most_writers = max(self.most_writers, self.writers)
        await asyncio.sleep(0.05)
        self.running = tuple(each.spec.name for each in applications)
        self.writers -= 1

    async def applications(self) -> dict[str, ApplicationState]:
        return {name: ApplicationState(name, ApplicationHealth.RUNNING, "", ("127.0.0.1:1",)) for name in self.running}


async def test_deployments_that_start_at_once_never_overwrite_each_other(sessions: Sessions) -> None:
    serve, world = SlowServe(), World(brief=rollout_brief(), clock=time.time)
    names = [f"Production-model-{number}" for number in range(6)]

    async def deploy(name: str) -> None:
        """As a worker of its own does it: they share nothing but the database and Ray Serve."""
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, task_queue=name)
        worker = ReplicaActivities(PostgresApplications(sessions), serve, FakeProbe(world))
        await environment.run(worker.start_replicas, spec(name))

    await asyncio.gather(*(deploy(name) for name in names))
    assert set(serve.running) == set(names), "nobody's application was deleted by somebody else's PUT"
    assert serve.most_writers == 1
