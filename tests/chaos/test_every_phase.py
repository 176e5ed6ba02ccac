"""Every phase by every way to be stopped in it, on the real servers.

One model stands in each phase, its work held in the middle of a transaction; then the act; then the holds are let go,
and everything has to end right. All along clients ask, and proxies, replicas and rows are sampled for the invariants.
All phases are stopped at the same moment, but for the deadline. Two to four minutes a round: `make chaos` runs it.
`tests/workflows/test_every_phase.py` is the same table on a real Temporal server without the other servers.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from hotswap.client import ApiError
from hotswap.demo.models import TrainedModels
from hotswap.domain.verdict import Reason
from tests.chaos.holds import hold_before_put
from tests.chaos.laboratory import BAKING, DEPLOYING, LONG, PHASES, ROLLING_BACK, VERSIONS, Laboratory
from tests.fixtures.patience import wait_until
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, hotswap, start

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(600)]

SETTINGS = {
    "HOTSWAP_DEPLOYMENTS__APPROVAL_REQUIRED": '["Staging"]',
    "HOTSWAP_DEPLOYMENTS__KEEP_PREVIOUS": "PT5S",
    "HOTSWAP_DEPLOYMENTS__MAX_CONCURRENT": "20",  # all phases at once
}
DEADLINE_SECONDS = 30
"""Long enough for replicas to come beside those of seven other models."""
DEADLINES = {"progressDeadline": f"PT{DEADLINE_SECONDS}S", "approvalDeadline": f"PT{DEADLINE_SECONDS}S"}
FROZEN_SECONDS = 30


@pytest.fixture(scope="module")
def laboratory(trained: TrainedModels) -> Iterator[Laboratory]:
    with tempfile.TemporaryDirectory(prefix="hotswap-phases-") as place:
        Path(place).chmod(0o711)
        stack = start(Path(place) / "data", free_base(), SETTINGS)
        try:
            ready = Laboratory(stack)
            ready.prepare(trained)
            yield ready
        finally:
            stack.close()
            hotswap("down", "--data-dir", str(stack.data))


def test_a_killed_worker_costs_no_phase_anything(laboratory: Laboratory) -> None:
    with laboratory.every_phase() as cases:
        killed_at = time.time()
        os.kill(laboratory.stack.pid("worker"), signal.SIGKILL)
        laboratory.finish(cases)
    for case in cases:
        laboratory.assert_said_in(case, lambda event: seconds_of(event) > killed_at)
        laboratory.assert_ended(case, forward=True)


def seconds_of(event: HistoryEvent) -> float:
    return event.event_time.seconds + event.event_time.nanos / 1e9


@pytest.mark.parametrize("way", ["signal", "update", "API"])
def test_abort_in_every_phase(laboratory: Laboratory, way: str) -> None:
    with laboratory.every_phase() as cases:
        for case in cases:
            match way:
                case "signal":
                    laboratory.signal(case, "abort", '{"by":"ann"}')
                case "update":
                    laboratory.temporal(
                        "update", "execute", "--workflow-id", case.workflow_id, "--name", "abort",
                        "--input", '{"by":"ann"}',
                    )  # fmt: skip
                case _:
                    with pytest.raises(ApiError) as refusal:
                        laboratory.deploy(case.phase, VERSIONS[0], LONG)
                    assert refusal.value.status == 409
                    assert case.deployment_id in str(refusal.value), "the refusal names the one that runs"
                    with suppress(ApiError) if case.phase is ROLLING_BACK else nullcontext():
                        laboratory.stack.api.deployments.abort(case.deployment_id, reason="test")
        laboratory.finish(cases)
    kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    if way != "signal":
        kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    for case in cases:
        if case.phase is not ROLLING_BACK:
            laboratory.assert_said_in(case, lambda event: event.event_type == kind)
        laboratory.assert_ended(case, forward=False, reason=Reason.ABORTED)


@pytest.mark.parametrize("times", [1, 2])
def test_cancel_in_every_phase(laboratory: Laboratory, times: int) -> None:
    with laboratory.every_phase() as cases:
        for number in range(times):
            time.sleep(0.5 * number)
            for case in cases:
                laboratory.temporal("cancel", "--workflow-id", case.workflow_id)
        laboratory.finish(cases)
    kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    for case in cases:
        laboratory.assert_said_in(case, lambda event: event.event_type == kind)
        laboratory.assert_ended(case, forward=False, reason=Reason.CANCELLED)


def test_the_deadline_in_every_phase(laboratory: Laboratory) -> None:
    """One after the other: what is held for one phase would be the deadline of others too."""
    cases = []
    with laboratory.watched() as exits:
        for phase in PHASES:
            if phase is BAKING:
                continue  # its deadline is that of its data, and data there is
            case = laboratory.bring(phase, exits, **DEADLINES)
            cases.append(case)
            if phase is ROLLING_BACK:
                laboratory.reach(case)
                time.sleep(DEADLINE_SECONDS)
                case.release()
            wait_until(partial(laboratory.has_ended, case), seconds=90, what=f"the end of {phase.model}")
            case.release()
    for case in cases:
        laboratory.assert_ended(case, forward=False, reason=Reason.DEADLINE_EXCEEDED)


def test_a_worker_that_freezes_with_work_in_hand_wakes_up_to_no_effect(laboratory: Laboratory) -> None:
    stack = laboratory.stack
    with laboratory.every_phase() as cases, ExitStack() as exits:
        worker = psutil.Process(stack.pid("worker"))
        dashboard = dashboard_of(stack)
        put_in_hand = next(case for case in cases if case.phase is DEPLOYING)
        writing = hold_before_put(laboratory.database)
        exits.callback(writing.release)
        put_in_hand.release()
        wait_until(lambda: writing.is_reached, what="a worker that is to write to Ray Serve")
        dashboard.suspend()
        exits.callback(dashboard.resume)
        writing.release()
        wait_until(lambda: lease_is_held(laboratory), what="a PUT in hand")
        time.sleep(0.3)
        frozen_at = time.monotonic()
        worker.suspend()
        exits.callback(worker.resume)
        dashboard.resume()
        second = subprocess.Popen([sys.executable, "-m", "workflows.worker"], env={**os.environ, **stack.control})
        exits.callback(second.wait, 30)
        exits.callback(second.terminate)
        laboratory.finish(cases)
        ended = {case.deployment_id: laboratory.status(case) for case in cases}
        time.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - frozen_at)))
        worker.resume()
        time.sleep(5)
        assert {case.deployment_id: laboratory.status(case) for case in cases} == ended
    for case in cases:
        laboratory.assert_ended(case, forward=True)


def dashboard_of(stack: Stack) -> psutil.Process:
    """The process that answers Ray Serve's REST calls."""
    port = stack.control["HOTSWAP_RAY__DASHBOARD_URL"].rpartition(":")[2]
    (found,) = [
        process
        for process in psutil.process_iter(["cmdline"])  # None of one that has just ended
        if f"--port={port}" in (line := " ".join(process.info["cmdline"] or ())) and "dashboard.py" in line
    ]
    return found


def lease_is_held(laboratory: Laboratory) -> bool:
    with psycopg.connect(laboratory.database) as connection:
        return connection.execute("SELECT 1 FROM leases WHERE expires_at > now()").fetchone() is not None
