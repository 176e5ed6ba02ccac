"""What the activities need of the world, each in a few methods; the adapters are wired in `workflows/worker.py`.

Every method may be called again with the same arguments and then does nothing more: activities are at-least-once.
Infrastructure errors propagate as they are, so that Temporal tries again; what is wrong with the *request* is a
`hotswap.domain.errors.HotSwapError`, which it doesn't.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from hotswap.domain.analysis import AnalysisPolicy, Bake, Entities, Look, Metric, Reading, Subject
from hotswap.domain.application import ApplicationSpec, ApplicationState, Desired
from hotswap.domain.demand import Holding
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.monitoring import Active, Alert, Finding
from hotswap.domain.promotion import Tenure
from hotswap.domain.queueing import Entry, Place, Standing
from hotswap.domain.registry import DeploymentBrief, Inspection, Registration, Unfinished, VersionRef
from hotswap.domain.resources import Cluster
from hotswap.domain.traffic import Counts, ProxyReport, TrafficChange, TrafficPlan
from hotswap.domain.validation import Override, ValidationReport
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import Environment, Framework


class Registry(Protocol):
    """Models and versions: the truth about what exists."""

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        """Create the model if its name is new, and the version, in one transaction.

        Raises Conflict when the version exists with another artifact; the same one again is no error.
        """

    async def version_exists(self, model: str, version: str) -> bool: ...

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        """Keep the report with the deployment, and mark the version Validated when it passed."""

    async def validation_override(self, version_id: str) -> Override | None:
        """What an Admin let pass of this version, if somebody did."""


class Deployments(Protocol):
    """Deployments as rows: what people and the API read."""

    async def open(self, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        """Bind the row to this workflow run, give the run its traffic epoch, and say what to work with.

        Temporal lets one run work on a model and environment, so any other deployment that is open there by its row has
        lost its workflow: it is closed, with what became of it. A deployment that has ended is only read. Raises
        DeploymentNotFound.
        """

    async def unfinished(self) -> list[Unfinished]:
        """Those that have not ended, but for the ones just accepted, whose workflow the API is about to start.

        What is queued is not among them: it has no workflow to lose yet (`Turns.called`).
        """

    async def transition(
        self, deployment_id: str, status: DeploymentStatus, *, message: str, reason: str | None, actor: str
    ) -> None:
        """Move the status along the transition table, with an audit event in the same transaction.

        `completed_at`, `is_rolled_back` and `rolled_back_at` follow from the status. Raises IllegalTransition, and
        Conflict when another deployment of the model is under way in the environment.
        """

    async def record_weight(
        self, deployment_id: str, *, verified_weight: int, progress: int | None, message: str
    ) -> None:
        """What the proxies confirmed (hundredths of a percent), and how far the rollout is in percent (None: as was).

        The deployment that is active beside this one has the rest, and any other nothing. One that has ended has said
        its last word: what comes late for it is left out.
        """

    async def record_decision(
        self,
        deployment_id: str,
        *,
        decision_id: str,
        kind: str,
        actor: str,
        message: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """An audit event that changes no status, such as a message that could not be read; one by its id."""

    async def check_proof(self, deployment_id: str, *, step: int, by: str, proof: str | None) -> None:
        """Raises Forbidden unless the API has put on record, under this key, that `by` said it to this deployment.

        One record proves one step.
        """

    async def approve(
        self,
        deployment_id: str,
        *,
        step: int,
        by: str,
        claimed: bool,
        reason: str | None = None,
        proof: str | None = None,
    ) -> None:
        """Note the approval of this step, stamp the candidate version's approved by and at, and audit it.

        Raises Conflict when the version is deprecated or archived.
        """

    async def make_active(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Promote by relabel in one transaction: the registry's pointer, the versions' status and the route.

        The deployment that it replaces ended as Active and stays so; its reason and message say what came of it.

        Raises StaleFence.
        """

    async def make_inactive(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Undo `make_active` in one transaction: pointer and version status as before, and the route as told.

        A deployment that was never made active changes nothing but the route. Raises StaleFence.
        """


class Slots(Protocol):
    """A few deployments may run at once; the others wait for a slot, which is free again when its holder ends."""

    async def places(self, deployment_ids: Collection[str]) -> dict[str, Place | None]:
        """Give the free slots to who is next, whoever asks, and say where these stand; None: nothing to wait for.

        In the order of their tickets, but nobody waits for one whose owner is gone or whose environment is frozen. One
        that was approved and waits all the same is shown as Pending again.
        """


class Turns(Protocol):
    """Queued deployments: one of a model may run in an environment at a time, and the others wait for their turn."""

    async def standings(self, deployment_ids: Collection[str]) -> dict[str, Standing | None]:
        """Where these stand; None: it is queued no more, so there is nothing to wait for."""

    async def make_way(self, deployment_id: str) -> tuple[Entry, ...]:
        """End what waits before one that supersedes; answers what is under way and has to be aborted."""

    async def leave(
        self, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
    ) -> bool:
        """End one that is queued still; False when it isn't, and so nothing was done."""

    async def called(self) -> list[dict[str, Any]]:
        """What starts those (`QueueInput`) whose turn has come: whoever waits for it should have seen that."""


class Bell(Protocol):
    """Rings when something has changed that others may wait for; what it was, they look up themselves."""

    def listening(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Inside the block `heard` is called at each ring, and whenever rings may have been missed."""


class Tenures(Protocol):
    """What is active where, as a promotion policy asks it."""

    async def tenure(self, model: str, environment: Environment) -> Tenure:
        """Of a model by its name or id, by the registry's own clock; nothing is active of one that isn't there."""


class TrafficPlans(Protocol):
    """The plan in PostgreSQL: the truth, fenced."""

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Write one route under its fence and answer the whole plan, with the generation that contains it.

        The epoch is the run's: given in this transaction when the run has none yet. The same (epoch, sequence) again
        changes nothing and answers the present plan. Raises StaleFence when a newer writer has been here.
        """

    async def current(self) -> TrafficPlan: ...

    async def proxy_reports(self) -> list[ProxyReport]:
        """What agents reported through the API while Redis was away, the newest of each proxy."""


class TrafficBus(Protocol):
    """The plan on its way to the proxies, and their reports on the way back (Redis).

    Every method raises Unavailable while Redis is away.
    """

    async def publish(self, plan: TrafficPlan) -> None:
        """Make the plan the published one unless a newer generation is."""

    async def published(self) -> TrafficPlan | None: ...

    def plans(self) -> AsyncIterator[TrafficPlan]:
        """The published plan now, and then each newer one, within milliseconds of its publication.

        Raises Unavailable when Redis goes away; ask again then.
        """

    async def report(self, report: ProxyReport) -> None:
        """Store a proxy's newest report; the first one registers the proxy."""

    async def reports(self) -> list[ProxyReport]:
        """The newest report of every registered proxy: until it shut down cleanly or a person removed it."""

    async def remove_proxy(self, proxy: str) -> None: ...


class DesiredApplications(Protocol):
    """The applications that should exist, as rows; what Ray Serve is told is always all of them."""

    async def add(self, desired: Desired) -> None:
        """One that is there already stays as it is."""

    async def remove(self, name: str) -> None: ...

    async def scale(self, replicas: Mapping[str, int]) -> None:
        """Have so many replicas of each of these, all in one transaction; one that isn't there is left out."""

    async def one(self, name: str) -> Desired | None:
        """Also one that is set aside."""

    async def all(self) -> list[Desired]:
        """In the order of their names, without those set aside."""

    async def orphans(self) -> list[ApplicationSpec]:
        """Those that take part in no route, of models with no open deployment in that environment."""

    async def set_aside(self, name: str, reason: str) -> None:
        """Leave a row out of what is PUT, since it makes the whole PUT fail."""

    def writer_lease(self, holder: str) -> AbstractAsyncContextManager["WriterLease"]:
        """Wait for the lease on the Serve configuration and hold it inside the block."""


class Capacity(Protocol):
    """Who holds what of the cluster, by the rows, and what is promised to whom."""

    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    def planning(self) -> AbstractAsyncContextManager["Planning"]:
        """One plan at a time: what is promised inside the block is seen by whoever plans next."""


class Planning(Protocol):
    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    async def promise(
        self, candidate: Desired, *, reserved: int, stable: Mapping[str, int], retire: Collection[str]
    ) -> None:
        """Write down what a plan takes, before anything of it starts.

        `reserved` candidate replicas are counted from now on while the deployment is under way, also before they are
        there. `stable` is how many replicas its stable keeps, and `retire` goes.
        """

    async def resize(self, application: str, *, deployment_id: str, replicas: int, by: str, why: str | None) -> Desired:
        """Have so many replicas for all of the traffic, in the row of the deployment that serves by it as well.

        It is audited under that deployment. Answers how it was. Of what scales by load they are the fewest. Raises
        Conflict while a deployment of its model is under way there, but for one that only goes back, and NotFound.
        """


class WriterLease(Protocol):
    async def remaining(self) -> float:
        """Seconds this holder still has by the database's clock, 0 when lost; asked right before each PUT."""


class ServeCluster(Protocol):
    """Ray Serve's REST API."""

    async def put(self, applications: Sequence[Desired]) -> None:
        """PUT the whole configuration: it deletes every application that it doesn't name.

        Raises ValidationFailed when Serve refuses the configuration, with Serve's reason.
        """

    async def applications(self) -> dict[str, ApplicationState]: ...


class ClusterState(Protocol):
    """Ray's state API."""

    async def resources(self) -> Cluster:
        """What its nodes have, and what others than HotSwap hold of it."""


class Inspector(Protocol):
    """Looks into an artifact without trusting it: fetched as a stream, unpacked safely, loaded in its own process."""

    async def inspect(
        self, uri: str, *, framework: Framework, expected_sha256: str | None, requirements: Sequence[str] = ()
    ) -> Inspection:
        """Fetch, hash, unpack, resolve its requirements and read the schemas.

        Raises ValidationFailed naming `artifactPath`, `checksum`, `framework` or `requirements`.
        """

    async def validate(self, version: VersionRef) -> ValidationReport:
        """Load the version and run its golden requests; what is wrong with it is in the report, not raised."""


class ReplicaProbe(Protocol):
    async def warm_up(self, spec: ApplicationSpec, targets: Sequence[str]) -> None:
        """Send every replica its golden requests, straight to its own port, until each has answered all.

        Raises ReplicasFailed with the answer that was not sane.
        """


class Judging(Protocol):
    """One step's analysis under way. The same looks in the same order give the same verdict, always."""

    def add(self, look: Look) -> None:
        """The next look; its counts and moments are cumulative. One that isn't newer than the last is left out."""

    def verdict(self, *, is_over: bool = False) -> Verdict:
        """What is known by the last look; `is_over` says that the bake is, so what judges once judges now."""


class Judge(Protocol):
    """`hotswap.analysis.judge.Judging`: pure, but kept out of workflow modules since it brings scipy along."""

    def __call__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> Judging: ...


class Looks(Protocol):
    """What every analysis saw and said: the record that `explain` reads and `replay` judges again."""

    async def record(self, deployment_id: str, bake: Bake, verdict: Verdict) -> None:
        """Add the looks of `bake` that are not there yet, and let the verdict be the newest of this analysis."""

    async def past(self, deployment_id: str, *, step: int, begun_at: float) -> list[Look]:
        """Those recorded of this analysis, in order: a watch that starts again goes on from them."""


class Meter(Protocol):
    """Reads the figures of one source."""

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Of both arms since `subject.since`.

        What can't be read is an answer as well (`Reading.error`), but whatever is raised counts as one too.
        """


class EntityCensus(Protocol):
    async def entities(self, subject: Subject) -> Entities:
        """Callers with an arm of their own that asked for this model since `subject.since`, each counted once."""


class Monitor(Protocol):
    """How what serves does, by what is known of it now."""

    async def active(self) -> list[Active]:
        """Every active version of every environment, with its model's policy."""

    async def degradation(self, active: Active) -> Finding | None:
        """Whether its predictions have become worse than before, by the outcomes reported of them."""

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        """Whether lately they were as good again as before that alert."""

    async def drift(self, active: Active) -> Finding | bool:
        """Look for drift now, and keep the report: what has drifted, else whether enough was seen to tell."""


class Alerts(Protocol):
    async def open(self, active: Active, finding: Finding, *, rolls_back: bool) -> None:
        """Unless one of that kind is open for that application."""

    async def opened(self) -> list[Alert]:
        """All that are not resolved."""

    async def of_what_serves_no_more(self) -> list[Alert]:
        """Those of the open ones whose application is not active any more."""

    async def resolve(self, alert_id: str, why: str) -> None: ...

    async def untold(self) -> list[Alert]: ...

    async def told(self, alert_id: str) -> None:
        """Its announcements are under way."""

    async def rolled_back_by(self, alert_id: str, deployment_id: str) -> None: ...


class Rollbacks(Protocol):
    """The deployment that takes an alert's version back."""

    async def ask(self, alert: Alert) -> dict[str, Any]:
        """Write its row, once per alert, and answer what its workflow is started with. Raises Conflict."""

    async def withdraw(self, deployment_id: str) -> None:
        """Take back the row of one that could not be started."""


class Announcer(Protocol):
    """Other people's servers, by the names that the settings have for them."""

    def names(self) -> Sequence[str]: ...

    async def announce(self, webhook: str, event: Mapping[str, Any]) -> None:
        """Send an event (CloudEvents, in JSON). Raises Unavailable until the server has taken it."""
