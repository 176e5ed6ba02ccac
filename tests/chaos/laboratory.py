"""One served model for each phase of a deployment, each to be held in the middle of its work, and watched all along."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from hotswap.client import ApiError
from hotswap.demo.history import weight_changes
from hotswap.demo.models import TrainedModels
from hotswap.demo.traffic import DemoTraffic
from hotswap.domain.ids import deployment_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment
from hotswap.process.temporal import DATA_CONVERTER
from hotswap.schemas.requests import CreateDeployment
from tests.chaos.holds import Hold, hold_in, triggers
from tests.chaos.samples import Sampler, assert_audited, assert_invariants
from tests.fixtures import work
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack

SHORT = {"canaryPercentage": 50, "incrementStep": 50, "monitoringDuration": "PT1S", "minimumRequests": 5}
LONG = {"canaryPercentage": 20, "incrementStep": 40, "monitoringDuration": "PT5M"}
VERSIONS = ("1.0.0", "2.0.0")


@dataclass(frozen=True)
class Phase:
    """`weighted`: a weight was published by then. One that isn't held waits by itself."""

    model: str
    status: S
    weighted: bool
    config: dict[str, Any] = field(default_factory=lambda: LONG)
    is_held: bool = True
    environment: Environment = Environment.PRODUCTION

    @property
    def holds_plan(self) -> bool:
        """Whether what is held there has the plan's lock, and so holds up all who open, shift or withdraw."""
        return self.is_held and (self.weighted or self.status is S.PENDING)


PENDING = Phase("pends", S.PENDING, weighted=False)
AWAITING = Phase("awaits", S.AWAITING_APPROVAL, weighted=False, is_held=False, environment=Environment.STAGING)
DEPLOYING = Phase("deploys", S.DEPLOYING, weighted=False)
BAKING = Phase("bakes", S.PROGRESSING, weighted=True, is_held=False)
ROLLING_BACK = Phase("rolls-back", S.ROLLING_BACK, weighted=True)
PHASES = (
    AWAITING,
    Phase("validates", S.VALIDATING, weighted=False),
    DEPLOYING,
    BAKING,
    Phase("promotes", S.PROMOTING, weighted=True, config=SHORT),
    ROLLING_BACK,
    Phase("shifts", S.PROGRESSING, weighted=True),
    PENDING,
)


@dataclass
class Case:
    """One phase's deployment in one round."""

    phase: Phase
    deployment_id: str
    workflow_id: str
    run_id: str
    hold: Hold | None

    @property
    def is_in_hand(self) -> bool:
        return self.hold is None or self.hold.is_reached

    def release(self) -> None:
        if self.hold is not None:
            self.hold.release()


class Laboratory:
    """A stack of its own with one served model for each phase."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.database = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")

    def prepare(self, trained: TrainedModels) -> None:
        for phase in PHASES:
            for version in VERSIONS:
                work.register(self.stack, trained, phase.model, version)
        first = [self.deploy(phase, VERSIONS[0], SHORT) for phase in PHASES if phase is not AWAITING]
        for deployment_id in first:
            assert work.ended(self.stack, deployment_id).status is S.ACTIVE

    def deploy(self, phase: Phase, version: str, config: dict[str, Any]) -> str:
        return self.stack.api.deployments.start(
            CreateDeployment(
                model_id=phase.model,
                version=version,
                environment=phase.environment,
                strategy_config=config,
                resources={"cpus": 0.05},
            )
        ).deployment_id

    def next_version(self, phase: Phase) -> str:
        """The one that doesn't serve now."""
        active = self.stack.api.models.get(phase.model).active_version
        return VERSIONS[1] if active == VERSIONS[0] else VERSIONS[0]

    def status(self, case: Case) -> S:
        return self.stack.api.deployments.get(case.deployment_id).status

    def has_ended(self, case: Case) -> bool:
        return self.status(case).is_terminal

    # --- bringing every phase about -----------------------------------------------------------------------------------

    @contextmanager
    def every_phase(self) -> Iterator[list[Case]]:
        """All models in their phases at once; those that hold each other up come one by one, the longest way first."""
        with self.watched() as exits:
            cases = [self.bring(phase, exits) for phase in PHASES if not phase.holds_plan]
            for case in cases:
                self.reach(case)
            for phase in PHASES:
                if phase.holds_plan:
                    cases.append(self.bring(phase, exits))
                    self.reach(cases[-1])
            yield cases

    @contextmanager
    def watched(self) -> Iterator[ExitStack]:
        """Under load, and sampled until the block ends; what it is given to undo is undone then."""
        sampler = Sampler(self.stack, self.database)
        with triggers(self.database), self.under_load():
            sampler.start()
            try:
                with ExitStack() as exits:
                    exits.callback(self.end_all)
                    yield exits
            finally:
                sampler.stop()
        assert_invariants(sampler.samples)

    def end_all(self) -> None:
        """What a round that failed has left under way would be in the way of the next."""
        for phase in PHASES:
            for left in self.stack.api.deployments.list(model=phase.model).items:
                if not left.status.is_terminal:
                    with suppress(ApiError):
                        self.stack.api.deployments.abort(left.deployment_id, reason="the round is over")
                    work.ended(self.stack, left.deployment_id)

    @contextmanager
    def under_load(self) -> Iterator[None]:
        models = [phase.model for phase in PHASES if phase is not AWAITING]
        rows = [[float(number) for number in range(1, 31)]]
        loads = [DemoTraffic(self.stack.url, self.stack.token, model, rows, clients=1, pause=0.1) for model in models]
        for load in loads:
            load.start()
        try:
            yield
        finally:
            for load in loads:
                load.stop()
        for load in loads:
            assert load.answers
            assert not [answer for answer in load.answers if not answer.succeeded], "a deployment cost no answer"

    def bring(self, phase: Phase, exits: ExitStack, **config: str) -> Case:
        """Start the deployment that is to be stopped in this phase; held from the first moment."""
        hold = hold_in(phase.status, self.database, phase.model) if phase.is_held else None
        if hold is not None:
            exits.callback(hold.release)
        deployment_id = self.deploy(phase, self.next_version(phase), {**phase.config, **config})
        workflow_id = deployment_workflow_id(phase.environment, phase.model)
        run_id = self.on_temporal(lambda client: run_of(client, workflow_id))
        return Case(phase, deployment_id, workflow_id, run_id, hold)

    def reach(self, case: Case) -> None:
        if case.phase is BAKING:
            work.reaches(self.stack, case.deployment_id, 20)
        if case.phase is ROLLING_BACK:
            work.reaches(self.stack, case.deployment_id, 20)
            self.stack.api.deployments.abort(case.deployment_id, reason="to be stopped while it is undone")
        wait_until(lambda: case.is_in_hand, seconds=90, what=f"{case.phase.model} in hand")
        wait_until(lambda: self.status(case) is case.phase.status, what=f"{case.phase.model} is {case.phase.status}")

    # --- what came of it ----------------------------------------------------------------------------------------------

    def finish(self, cases: list[Case]) -> None:
        """Go on with what was not stopped: approve what waits, end the long bakes, until all have ended."""
        for case in cases:
            case.release()
            if case.phase is AWAITING:
                with suppress(subprocess.CalledProcessError):  # it has been stopped
                    self.signal(case, "approve", '{"by":"ann"}')
        open_cases = cases

        def have_ended() -> bool:
            nonlocal open_cases
            open_cases = [case for case in cases if not self.status(case).is_terminal]
            for case in open_cases:
                if self.status(case) is S.PROGRESSING:
                    with suppress(ApiError):
                        self.stack.api.deployments.promote(case.deployment_id)
            return not open_cases

        wait_until(
            have_ended,
            seconds=120,
            every=2,
            what=lambda: f"the end of {[(case.phase.model, self.status(case)) for case in open_cases]}",
        )

    def assert_ended(self, case: Case, *, forward: bool, reason: Reason | None = None) -> None:
        """`forward`: nobody called it back, so only what was being undone is undone."""
        seen = self.stack.api.deployments.get(case.deployment_id)
        path = assert_audited(self.database, case.deployment_id)
        assert path[-1] is seen.status
        assert case.phase.status in path
        if case.phase is ROLLING_BACK:
            assert (seen.status, seen.reason) == (S.ROLLED_BACK, Reason.ABORTED)
        elif forward:
            assert (seen.status, seen.reason) == (S.ACTIVE, Reason.COMPLETED), seen.message
        else:
            stopped = S.FAILED if reason is Reason.DEADLINE_EXCEEDED else S.CANCELLED
            assert (seen.status, seen.reason) == (S.ROLLED_BACK if case.phase.weighted else stopped, reason)
        changes = self.on_temporal(lambda client: weight_changes(client, case.workflow_id, case.run_id))
        steps = [change.share for change in changes if change.activity == "set_weight"]
        assert steps == sorted(set(steps)), "no step is applied twice"

    def assert_said_in(self, case: Case, act: Callable[[HistoryEvent], bool]) -> None:
        """The history shows the phase's status at the moment of the act."""
        events = self.on_temporal(lambda client: history(client, case))
        said_at = next(position for position, event in enumerate(events) if act(event))
        assert status_in(events[:said_at]) == case.phase.status

    # --- hands --------------------------------------------------------------------------------------------------------

    def signal(self, case: Case, name: str, given: str) -> None:
        self.temporal("signal", "--workflow-id", case.workflow_id, "--name", name, "--input", given)

    def temporal(self, *arguments: str) -> None:
        address = self.stack.environment["urls"]["temporal"]
        command = [str(Path(sys.executable).parent / "temporal"), "workflow", *arguments, "--address", address]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(30))

    def on_temporal(self, ask: Callable[[Client], Any]) -> Any:
        async def run() -> Any:
            address = self.stack.environment["urls"]["temporal"]
            return await ask(await Client.connect(address, data_converter=DATA_CONVERTER))

        return asyncio.run(run())


async def run_of(client: Client, workflow_id: str) -> str:
    return (await client.get_workflow_handle(workflow_id).describe()).run_id


async def history(client: Client, case: Case) -> list[HistoryEvent]:
    handle = client.get_workflow_handle(case.workflow_id, run_id=case.run_id)
    return [event async for event in handle.fetch_history_events()]


def status_in(events: list[HistoryEvent]) -> str:
    """The last status that the workflow showed."""
    shown = [
        event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields["HotSwapStatus"].data
        for event in events
        if event.event_type == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        and "HotSwapStatus" in event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    ]
    return shown[-1].decode().strip('"')
