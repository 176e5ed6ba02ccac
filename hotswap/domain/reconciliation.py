"""Compare what should be with what is: rows and the traffic plan with open workflows, Ray Serve and the proxies. Pure.

Each difference is a finding, in plain words: what differs, what should be, what is, and what happens next. A finding
has a repair only if the repair is safe and can be done twice. Everything else a person must decide.

A model that has an open deployment is left alone: its workflow is changing all of this, and knows why. A server that
did not answer is a finding too, because nothing was compared there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hotswap.domain.application import ApplicationHealth, ApplicationState, Desired
from hotswap.domain.findings import FindingKind, ReconcilerFinding, Repair, for_a_person, repaired
from hotswap.domain.ids import deployment_workflow_id, queue_workflow_id, retirement_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy
from hotswap.domain.traffic import ProxyReport, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment


@dataclass(frozen=True, slots=True)
class UnfinishedDeployment:
    """A deployment that has not ended, by its row.

    `is_queued` says that it waits for its turn, and `is_starting` that the process that accepted it may still be about
    to start its workflow.
    """

    deployment_id: str
    environment: Environment
    model: str
    status: DeploymentStatus
    is_queued: bool = False
    is_starting: bool = False


@dataclass(frozen=True, slots=True)
class DesiredRow:
    """An application that should exist; `set_aside_reason` is why Ray Serve refused it, None if it didn't."""

    desired: Desired
    set_aside_reason: str | None = None

    @property
    def name(self) -> str:
        return self.desired.spec.name


@dataclass(frozen=True, slots=True)
class ActiveRow:
    """The active version of a model in an environment, and the application that serves it."""

    environment: Environment
    model: str
    version: str
    application: str


@dataclass(frozen=True, slots=True)
class RecordedState:
    """What should be: all of it from one snapshot of PostgreSQL."""

    plan: TrafficPlan
    unfinished: tuple[UnfinishedDeployment, ...] = ()
    applications: tuple[DesiredRow, ...] = ()
    active: tuple[ActiveRow, ...] = ()

    @property
    def expected_workflows(self) -> frozenset[str]:
        """The ids of the workflows that may be open, by the rows."""
        deployments = (deployment_workflow_id(each.environment, each.model) for each in self.unfinished)
        queues = (queue_workflow_id(each.deployment_id) for each in self.unfinished if each.is_queued)
        retirements = (retirement_workflow_id(each.name) for each in self.applications)
        return frozenset((*deployments, *queues, *retirements))


@dataclass(frozen=True, slots=True)
class ActualState:
    """What is. A part is None if the server that knows it did not answer; `unread` then has the server's reason.

    `open_workflows` maps the id of each open workflow to the deployment that it works on, if its memo names one.
    """

    open_workflows: Mapping[str, str | None] | None = None
    applications: Mapping[str, ApplicationState] | None = None
    proxies: tuple[RegisteredProxy, ...] | None = None
    unread: Mapping[str, str] | None = None


def compare(recorded: RecordedState, actual: ActualState) -> tuple[ReconcilerFinding, ...]:
    """Return every difference, in the order of its importance: workflows, traffic, applications, proxies."""
    return tuple(_Comparison(recorded, actual).findings())


def misconfigured(desired: Iterable[Desired], running: Mapping[str, ApplicationState]) -> dict[str, FindingKind]:
    """Return the applications for which Ray Serve needs its configuration again, each with how it differs."""
    wanted = {each.spec.name: each for each in desired if each.replicas > 0}
    alive = {name: state for name, state in running.items() if state.health is not ApplicationHealth.STOPPING}
    missing = dict.fromkeys(wanted.keys() - alive.keys(), FindingKind.APPLICATION_MISSING)
    unknown = dict.fromkeys(alive.keys() - wanted.keys(), FindingKind.APPLICATION_UNKNOWN)
    both = wanted.keys() & alive.keys()
    differing = {
        name: FindingKind.APPLICATION_DIFFERS for name in both if _was_told_otherwise(alive[name], wanted[name])
    }
    return dict(sorted({**missing, **unknown, **differing}.items()))


def _was_told_otherwise(state: ApplicationState, desired: Desired) -> bool:
    """Return whether Serve was sent another configuration than this.

    Where replicas scale by load their number is Serve's own affair, so it is not compared.
    """
    return state.wanted not in (None, desired.replicas) and not desired.spec.resources.scales_by_load


class _Comparison:
    """One comparison; `_busy` has the models, each in its environment, whose open deployment must be left alone."""

    def __init__(self, recorded: RecordedState, actual: ActualState) -> None:
        self._recorded = recorded
        self._actual = actual
        self._open = actual.open_workflows
        self._desired = {each.name: each for each in recorded.applications}
        self._lost = {each.deployment_id for each in recorded.unfinished if self._has_lost_its_workflow(each)}
        self._busy = {(each.environment, each.model) for each in recorded.unfinished if self._is_at_work(each)}

    def findings(self) -> Iterator[ReconcilerFinding]:
        for server, problem in sorted((self._actual.unread or {}).items()):
            yield for_a_person(
                FindingKind.NOT_COMPARED,
                server,
                expected="it answers, so that it can be compared",
                actual=problem,
                next_step=f"bring {server} back, then run `hotswap reconcile` again",
            )
        yield from self._workflows()
        yield from self._routes()
        yield from self._applications()
        yield from self._proxies()

    # --- open deployments ---------------------------------------------------------------------------------------------

    def _is_open(self, environment: Environment, model: str) -> bool:
        """Return whether a workflow works on the model; without an answer of Temporal it may."""
        return self._open is None or deployment_workflow_id(environment, model) in self._open

    def _is_at_work(self, row: UnfinishedDeployment) -> bool:
        if row.is_queued:  # it has done nothing yet
            return False
        return row.is_starting or self._is_open(row.environment, row.model)

    def _has_lost_its_workflow(self, row: UnfinishedDeployment) -> bool:
        return not row.is_queued and not row.is_starting and not self._is_open(row.environment, row.model)

    def _is_busy(self, environment: Environment, model: str) -> bool:
        is_open = self._open is not None and deployment_workflow_id(environment, model) in self._open
        return is_open or (environment, model) in self._busy

    def _workflows(self) -> Iterator[ReconcilerFinding]:
        if self._open is None:
            return
        for row in self._recorded.unfinished:
            workflow_id = deployment_workflow_id(row.environment, row.model)
            if row.deployment_id in self._lost:
                yield repaired(
                    FindingKind.DEPLOYMENT_WITHOUT_WORKFLOW,
                    row.deployment_id,
                    expected=f"the workflow {workflow_id} is open, because the deployment is {row.status}",
                    actual="no workflow of this id is open",
                    repair=Repair.END_DEPLOYMENT,
                )
            elif row.is_queued and not row.is_starting and not self._is_waited_for(row):
                yield repaired(
                    FindingKind.QUEUED_WITHOUT_WORKFLOW,
                    row.deployment_id,
                    expected=f"the workflow {queue_workflow_id(row.deployment_id)} is open, which waits for its turn",
                    actual="no workflow of this id is open",
                    repair=Repair.START_QUEUE,
                )
        unfinished = {each.deployment_id: each for each in self._recorded.unfinished}
        for workflow_id, deployment_id in sorted(self._open.items()):
            if workflow_id.startswith("deployment/") and deployment_id not in unfinished:
                yield for_a_person(
                    FindingKind.WORKFLOW_WITHOUT_DEPLOYMENT,
                    workflow_id,
                    expected=f"the deployment {deployment_id or 'that it works on'} is unfinished in the database",
                    actual="the database has no unfinished deployment of this id",
                    next_step=f"look at the workflow in the Temporal Web UI; if the database was restored, end it: "
                    f"`temporal workflow terminate --workflow-id {workflow_id}`",
                )

    def _is_waited_for(self, row: UnfinishedDeployment) -> bool:
        """Return whether the queue workflow is open, or has just given way to the deployment's own."""
        assert self._open is not None
        own = self._open.get(deployment_workflow_id(row.environment, row.model))
        return queue_workflow_id(row.deployment_id) in self._open or own == row.deployment_id

    # --- traffic ------------------------------------------------------------------------------------------------------

    def _routes(self) -> Iterator[ReconcilerFinding]:
        active = {(each.environment, each.model): each for each in self._recorded.active}
        routed = set()
        for route in self._recorded.plan.routes:
            key = (route.environment, route.model)
            routed.add(key)
            if not self._is_busy(*key):
                yield from self._left_behind(route)
                yield from self._stable(route, active.get(key))
        for key, row in sorted(active.items()):
            if key not in routed and not self._is_busy(*key):
                yield for_a_person(
                    FindingKind.ACTIVE_WITHOUT_ROUTE,
                    f"{row.environment}/{row.model}",
                    expected=f"a route leads to the active version {row.version}",
                    actual="the traffic plan has no route of this model",
                    next_step=f"deploy {row.model} {row.version} to {row.environment} again",
                )

    def _left_behind(self, route: Route) -> Iterator[ReconcilerFinding]:
        candidate = route.candidate
        if candidate is None or route.stable is None:  # a first version that failed goes on serving
            return
        expected = f"all traffic goes to {route.stable.version}, because no deployment is open"
        share = f"{route.candidate_weight / 100:g}%"
        actual = f"the candidate {candidate.version} of {candidate.deployment_id} still has {share}"
        kind = FindingKind.CANDIDATE_LEFT_BEHIND
        if candidate.deployment_id in self._lost:
            yield repaired(kind, route.key, expected=expected, actual=actual, repair=Repair.END_DEPLOYMENT)
        elif self._open is not None:
            next_step = (
                f"deploy {route.model} to {route.environment} again: its next deployment takes this weight back first"
            )
            yield for_a_person(kind, route.key, expected=expected, actual=actual, next_step=next_step)

    def _stable(self, route: Route, active: ActiveRow | None) -> Iterator[ReconcilerFinding]:
        for _, arm, _ in route.arms:
            if arm.application not in self._desired:
                yield for_a_person(
                    FindingKind.ROUTE_WITHOUT_APPLICATION,
                    f"{route.key} {arm.application}",
                    expected="each application of a route is a desired application",
                    actual="no row desires it, so Ray Serve stops it with the next change",
                    next_step=f"deploy {route.model} {arm.version} to {route.environment} again",
                )
        if active is not None and route.stable is not None and route.stable.application != active.application:
            yield for_a_person(
                FindingKind.ROUTE_NOT_ACTIVE,
                route.key,
                expected=f"the route leads to the active version {active.version} ({active.application})",
                actual=f"it leads to {route.stable.version} ({route.stable.application})",
                next_step=f"deploy the version that should serve {route.model} in {route.environment}",
            )

    # --- applications -------------------------------------------------------------------------------------------------

    def _applications(self) -> Iterator[ReconcilerFinding]:
        routed = self._recorded.plan.applications
        for row in self._recorded.applications:
            spec = row.desired.spec
            if self._is_busy(spec.environment, spec.model):
                continue
            if row.set_aside_reason is not None and row.name in routed:
                yield for_a_person(
                    FindingKind.APPLICATION_SET_ASIDE,
                    row.name,
                    expected="it runs, because a route leads to it",
                    actual=f"Ray Serve refused it: {row.set_aside_reason}",
                    next_step=f"deploy {spec.model} {spec.version} to {spec.environment} again",
                )
            if row.name not in routed and not self._is_needed(row):
                yield repaired(
                    FindingKind.APPLICATION_UNNEEDED,
                    row.name,
                    expected="a route leads to it, a deployment is open, or a retirement keeps it warm",
                    actual=f"nothing needs it, and it holds {row.desired.replicas} replicas",
                    repair=Repair.RETIRE_APPLICATION,
                )
        yield from self._running(routed)

    def _is_needed(self, row: DesiredRow) -> bool:
        """Return whether a deployment or a retirement is about it; without an answer of Temporal it may be."""
        if self._open is None or retirement_workflow_id(row.name) in self._open:
            return True
        spec = row.desired.spec
        unfinished = ((each.environment, each.model) for each in self._recorded.unfinished)
        return (spec.environment, spec.model) in unfinished

    def _running(self, routed: frozenset[str]) -> Iterator[ReconcilerFinding]:
        running = self._actual.applications
        if running is None:
            return
        idle = [each.desired for each in self._recorded.applications if each.set_aside_reason is None]
        differing = misconfigured(idle, running)
        for name, kind in differing.items():
            row = self._desired.get(name)
            if row is None or not self._is_busy(row.desired.spec.environment, row.desired.spec.model):
                yield self._misconfigured(name, kind, running)
        for row in self._recorded.applications:
            spec = row.desired.spec
            state = running.get(row.name)
            is_watched = row.name in routed and row.name not in differing and row.desired.replicas > 0
            if state is None or not is_watched or self._is_busy(spec.environment, spec.model):
                continue
            if state.health is not ApplicationHealth.RUNNING:
                yield for_a_person(
                    FindingKind.APPLICATION_NOT_RUNNING,
                    row.name,
                    expected="it runs, because a route leads to it",
                    actual=f"Ray Serve says {state.health}{': ' + state.message if state.message else ''}",
                    next_step="wait if it is starting; else look at Ray's logs, and go back to another version",
                )

    def _misconfigured(
        self, name: str, kind: FindingKind, running: Mapping[str, ApplicationState]
    ) -> ReconcilerFinding:
        row = self._desired.get(name)
        replicas = row.desired.replicas if row is not None else 0
        told = {
            FindingKind.APPLICATION_MISSING: (f"Ray Serve runs {replicas} replicas of it", "Ray Serve doesn't run it"),
            FindingKind.APPLICATION_UNKNOWN: (
                "Ray Serve runs desired applications only",
                "no row desires it" if row is None else "its row desires no replicas",
            ),
        }
        wanted = running[name].wanted if name in running else None
        differs = (f"Ray Serve works towards {replicas} replicas", f"it works towards {wanted}")
        expected, actual = told.get(kind, differs)
        return repaired(kind, name, expected=expected, actual=actual, repair=Repair.SEND_APPLICATIONS)

    # --- proxies ------------------------------------------------------------------------------------------------------

    def _proxies(self) -> Iterator[ReconcilerFinding]:
        for proxy in self._actual.proxies or ():
            if proxy.silent_for > LEASE_SECONDS:
                yield for_a_person(
                    FindingKind.PROXY_LOST,
                    proxy.name,
                    expected="the proxy reports every half second",
                    actual=f"it has not reported for {proxy.silent_for:.0f} s",
                    next_step="bring its agent back; if the proxy is gone for good: "
                    f"`hotswap proxies remove {proxy.name}`",
                )
            yield from self._plan_of(proxy.report)
            yield from self._routes_of(proxy.report)

    def _plan_of(self, report: ProxyReport) -> Iterator[ReconcilerFinding]:
        newest, expected = self._recorded.plan.number, "the proxy has the traffic plan of generation"
        if report.confirmed < newest:
            problem = f": {report.problem}" if report.problem is not None else ""
            yield repaired(
                FindingKind.PROXY_BEHIND,
                report.proxy,
                expected=f"{expected} {newest}",
                actual=f"it has generation {report.confirmed}{problem}",
                repair=Repair.PUBLISH_PLAN,
            )
        if report.confirmed > newest:
            yield repaired(
                FindingKind.PROXY_AHEAD,
                report.proxy,
                expected=f"{expected} {newest}, the newest in the database",
                actual=f"it has generation {report.confirmed}, which this database never made: it was restored",
                repair=Repair.PUBLISH_PLAN,
            )

    def _routes_of(self, report: ProxyReport) -> Iterator[ReconcilerFinding]:
        withdrawn = {each.key: each for each in report.withdrawals}
        for each in withdrawn.values():
            yield repaired(
                FindingKind.CANDIDATE_WITHDRAWN,
                f"{report.proxy} {each.key}",
                expected="a deployment alone changes the weight of its candidate",
                actual=each.message,
                repair=Repair.ABORT_DEPLOYMENT,
            )
        keys = {each.key: each for each in self._recorded.plan.routes}
        for key, problem in sorted(report.held.items()):
            route = keys.get(key)
            if route is None or key in withdrawn or self._is_busy(route.environment, route.model):
                continue
            yield for_a_person(
                FindingKind.ROUTE_HELD,
                f"{report.proxy} {key}",
                expected="the proxy uses the newest route",
                actual=f"it goes on with the route before: {problem}",
                next_step="remove the cause that the proxy names; it then takes the route by itself",
            )
