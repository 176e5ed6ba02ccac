"""Ray's head comes back alone with what it ran: nobody tells it, since of the whole stack nothing else runs here."""

import asyncio
import json
import os
import signal
from contextlib import suppress

import psutil
import pytest

from hotswap.bootstrap.layout import Layout
from hotswap.process.sessions import session_members
from serving.ray import applications
from serving.ray.client import RayServeClient
from tests.contracts.conftest import application, state_of
from tests.contracts.test_rayserve import ask
from tests.contracts.toy import PID_HEADER
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.soak]

VERSIONS = [application(f"Production-fraud-{version}") for version in ("aaaa", "bbbb", "cccc")]


def kept(head: Stack) -> list[str]:
    """What the next head will read, the newest first."""
    with suppress(FileNotFoundError):
        return applications.names(json.loads((head.data / "ray" / "applications.json").read_text()))
    return []


def raylet(head: Stack) -> int:
    for pid in session_members(head.pid("ray")):
        with suppress(psutil.Error):
            if any("/raylet/raylet" in word for word in psutil.Process(pid).cmdline()[:3]):
                return pid
    raise AssertionError("no raylet")


def is_another(head: Stack, before: int) -> bool:
    ready = Layout(head.data).ready_file("ray")
    return head.parts.get("ray", {"pid": before})["pid"] != before and ready.exists()


@pytest.mark.relied_on_by("serving/ray/applications.py", "serving/ray/head.py")
async def test_a_head_whose_state_is_spoiled_runs_again_what_it_ran(ray_head: Stack, serve: RayServeClient) -> None:
    for count in (1, 2, 3):
        await serve.put(VERSIONS[:count])
        await state_of(serve, VERSIONS[count - 1].spec.name, replicas=1)
    newest_first = [each.spec.name for each in reversed(VERSIONS)]
    await asyncio.to_thread(wait_until, lambda: kept(ray_head) == newest_first, what="what runs, kept")

    before = ray_head.pid("ray")
    (ray_head.data / "ray" / "gcs" / "CURRENT").write_text("MANIFEST-none\n")
    os.kill(raylet(ray_head), signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: is_another(ray_head, before), seconds=60, what="another head")
    states = [await state_of(serve, name, replicas=1) for name in newest_first]

    async def pids() -> list[str]:
        return [(await ask(state.targets[0], state.name)).headers[PID_HEADER] for state in states]

    again = await pids()
    await serve.put(VERSIONS)  # what the control loop will do as soon as it runs
    await asyncio.sleep(3)
    assert await pids() == again, "what was brought back is what would have been put"
    assert kept(ray_head) == newest_first
