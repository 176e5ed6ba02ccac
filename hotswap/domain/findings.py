"""Findings of the reconciler: their kinds, their repairs, and what a person must do about the others. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """The kind of a difference. The values are public, so each keeps its meaning."""

    NOT_COMPARED = "NotCompared"
    DEPLOYMENT_WITHOUT_WORKFLOW = "DeploymentWithoutWorkflow"
    QUEUED_WITHOUT_WORKFLOW = "QueuedWithoutWorkflow"
    WORKFLOW_WITHOUT_DEPLOYMENT = "WorkflowWithoutDeployment"
    CANDIDATE_LEFT_BEHIND = "CandidateLeftBehind"
    ROUTE_NOT_ACTIVE = "RouteNotActive"
    ACTIVE_WITHOUT_ROUTE = "ActiveWithoutRoute"
    ROUTE_WITHOUT_APPLICATION = "RouteWithoutApplication"
    APPLICATION_SET_ASIDE = "ApplicationSetAside"
    APPLICATION_NOT_RUNNING = "ApplicationNotRunning"
    APPLICATION_MISSING = "ApplicationMissing"
    APPLICATION_DIFFERS = "ApplicationDiffers"
    APPLICATION_UNKNOWN = "ApplicationUnknown"
    APPLICATION_UNNEEDED = "ApplicationUnneeded"
    PROXY_BEHIND = "ProxyBehind"
    PROXY_AHEAD = "ProxyAhead"
    PROXY_LOST = "ProxyLost"
    CANDIDATE_WITHDRAWN = "CandidateWithdrawn"
    ROUTE_HELD = "RouteHeld"


class Repair(StrEnum):
    """What the reconciler does about a finding. The values are public."""

    END_DEPLOYMENT = "EndDeployment"
    START_QUEUE = "StartQueue"
    RETIRE_APPLICATION = "RetireApplication"
    SEND_APPLICATIONS = "SendApplications"
    PUBLISH_PLAN = "PublishPlan"
    ABORT_DEPLOYMENT = "AbortDeployment"


NEXT_STEPS = {
    Repair.END_DEPLOYMENT: "the reconciler starts a run that ends the deployment and takes its traffic back",
    Repair.START_QUEUE: "the reconciler starts its queue workflow when its turn has come",
    Repair.RETIRE_APPLICATION: "the reconciler retires the application after 30 minutes",
    Repair.SEND_APPLICATIONS: "the reconciler sends Ray Serve the desired applications again",
    Repair.PUBLISH_PLAN: "the reconciler publishes the traffic plan again, in a new lineage after a restore",
    Repair.ABORT_DEPLOYMENT: "the reconciler aborts the deployment in the name of who took its candidate out",
}


@dataclass(frozen=True, slots=True)
class ReconcilerFinding:
    """A difference between what should be and what is. `repair` is None if a person must act on `next_step`."""

    kind: FindingKind
    subject: str
    expected: str
    actual: str
    repair: Repair | None
    next_step: str


def confirmed(first: Iterable[ReconcilerFinding], second: Iterable[ReconcilerFinding]) -> tuple[ReconcilerFinding, ...]:
    """Return the findings of the second look that the first one had too: what only passes by is none."""
    known = {(each.kind, each.subject) for each in first}
    return tuple(each for each in second if (each.kind, each.subject) in known)


def repaired(kind: FindingKind, subject: str, *, expected: str, actual: str, repair: Repair) -> ReconcilerFinding:
    """Return a finding that the reconciler repairs."""
    return ReconcilerFinding(kind, subject, expected, actual, repair, NEXT_STEPS[repair])


def for_a_person(kind: FindingKind, subject: str, *, expected: str, actual: str, next_step: str) -> ReconcilerFinding:
    """Return a finding on which a person must act."""
    return ReconcilerFinding(kind, subject, expected, actual, None, next_step)
