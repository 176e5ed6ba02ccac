"""What differs is found, by its kind and with the right repair; what an open deployment changes is left alone."""

from dataclasses import replace

import pytest

from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    ArtifactRef,
    Desired,
    ReplicaResources,
)
from hotswap.domain.findings import FindingKind, Repair, confirmed
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.reconciliation import (
    ActiveRow,
    ActualState,
    DesiredRow,
    RecordedState,
    UnfinishedDeployment,
    compare,
)
from hotswap.domain.traffic import Arm, Fence, ProxyReport, Route, TrafficPlan, Withdrawal
from hotswap.domain.vocabulary import Environment, Framework
from tests.fixtures.reports import live

K = FindingKind
STABLE = Arm("Production-fraud-a", "1.0.0", "dep-a")
CANDIDATE = Arm("Production-fraud-b", "2.0.0", "dep-b")
OPEN = {"deployment/Production/fraud": "dep-b"}


def desired(name: str, version: str, *, replicas: int = 2) -> Desired:
    artifact = ArtifactRef("s3://ml-models/fraud.tar.gz", "0" * 64, 1)
    spec = ApplicationSpec(
        name, f"dep-{name[-1]}", Environment.PRODUCTION, "fraud", version, Framework.ONNX, artifact, {}, {}
    )
    return Desired(spec, replicas, replicas)


def route(stable: Arm | None = STABLE, candidate: Arm | None = None, weight: int = 0) -> Route:
    return Route(Environment.PRODUCTION, "fraud", stable, candidate, weight, Fence(1, 1))


def state(
    name: str, health: ApplicationHealth = ApplicationHealth.RUNNING, *, wanted: int | None = 2, message: str = ""
) -> ApplicationState:
    return ApplicationState(name, health, message, wanted=wanted)


def row(status: DeploymentStatus = DeploymentStatus.PROGRESSING, **told: bool) -> UnfinishedDeployment:
    return UnfinishedDeployment("dep-b", Environment.PRODUCTION, "fraud", status, **told)


RECORDED = RecordedState(
    TrafficPlan(7, (route(),)),
    (),
    (DesiredRow(desired(STABLE.application, "1.0.0")),),
    (ActiveRow(Environment.PRODUCTION, "fraud", "1.0.0", STABLE.application),),
)
ACTUAL = ActualState({}, {STABLE.application: state(STABLE.application)}, tuple(live([ProxyReport("envoy-0", 7, 1.0)])))
UNDER_WAY = RecordedState(
    TrafficPlan(7, (route(candidate=CANDIDATE, weight=1_000),)),
    (row(),),
    (*RECORDED.applications, DesiredRow(desired(CANDIDATE.application, "2.0.0"))),
    RECORDED.active,
)
BOTH_RUN = {name: state(name) for name in (STABLE.application, CANDIDATE.application)}


def kinds(recorded: RecordedState, actual: ActualState) -> list[tuple[FindingKind, str, Repair | None]]:
    found = compare(recorded, actual)
    assert all(each.expected and each.actual and each.next_step for each in found)
    return [(each.kind, each.subject, each.repair) for each in found]


def test_nothing_is_found_where_nothing_differs() -> None:
    assert kinds(RECORDED, ACTUAL) == []
    assert kinds(UNDER_WAY, replace(ACTUAL, open_workflows=OPEN, applications=BOTH_RUN)) == []


def test_a_deployment_that_lost_its_workflow_is_ended_and_its_weight_goes_with_it() -> None:
    assert kinds(UNDER_WAY, replace(ACTUAL, applications=BOTH_RUN)) == [
        (K.DEPLOYMENT_WITHOUT_WORKFLOW, "dep-b", Repair.END_DEPLOYMENT),
        (K.CANDIDATE_LEFT_BEHIND, "Production/fraud", Repair.END_DEPLOYMENT),
    ]


def test_a_deployment_that_is_about_to_start_is_left_alone() -> None:
    recorded = replace(UNDER_WAY, unfinished=(row(DeploymentStatus.PENDING, is_starting=True),))
    assert kinds(recorded, replace(ACTUAL, applications={})) == []


@pytest.mark.parametrize(
    "open_workflows",
    [{"queue/dep-b": "dep-b"}, {"deployment/Production/fraud": "dep-b"}],
)
def test_a_queued_deployment_needs_a_workflow_that_waits(open_workflows: dict[str, str | None]) -> None:
    recorded = replace(RECORDED, unfinished=(row(DeploymentStatus.PENDING, is_queued=True),))
    assert kinds(recorded, replace(ACTUAL, open_workflows=open_workflows)) == []
    assert kinds(recorded, ACTUAL) == [(K.QUEUED_WITHOUT_WORKFLOW, "dep-b", Repair.START_QUEUE)]


def test_a_queued_deployment_does_not_hide_what_is_wrong_with_its_model() -> None:
    recorded = replace(RECORDED, unfinished=(row(DeploymentStatus.PENDING, is_queued=True),))
    actual = replace(ACTUAL, open_workflows={"queue/dep-b": "dep-b"}, applications={})
    assert kinds(recorded, actual) == [(K.APPLICATION_MISSING, STABLE.application, Repair.SEND_APPLICATIONS)]


def test_a_workflow_that_no_row_knows_is_a_persons_decision() -> None:
    found = compare(RECORDED, replace(ACTUAL, open_workflows=OPEN))
    assert [(each.kind, each.repair) for each in found] == [(K.WORKFLOW_WITHOUT_DEPLOYMENT, None)]
    assert "temporal workflow terminate --workflow-id deployment/Production/fraud" in found[0].next_step
    assert "dep-b" in found[0].expected


def test_a_workflow_of_another_deployment_keeps_the_lost_one_as_it_is() -> None:
    """Temporal refuses a second run of the id, so nothing may claim that it would be started."""
    actual = replace(ACTUAL, open_workflows={"deployment/Production/fraud": "dep-z"}, applications=BOTH_RUN)
    assert kinds(UNDER_WAY, actual) == [(K.WORKFLOW_WITHOUT_DEPLOYMENT, "deployment/Production/fraud", None)]


def test_a_candidate_whose_deployment_has_ended_is_a_persons_decision() -> None:
    recorded = replace(UNDER_WAY, unfinished=())
    found = kinds(recorded, replace(ACTUAL, applications=BOTH_RUN))
    assert found == [(K.CANDIDATE_LEFT_BEHIND, "Production/fraud", None)]
    by_testers = replace(recorded, plan=TrafficPlan(7, (route(candidate=CANDIDATE),)))
    assert kinds(by_testers, replace(ACTUAL, applications=BOTH_RUN)) == found


def test_a_first_version_that_failed_and_still_serves_is_no_finding() -> None:
    arm = Arm(STABLE.application, "1.0.0", "dep-a")
    recorded = replace(RECORDED, plan=TrafficPlan(7, (route(None, arm, 10_000),)), active=())
    assert kinds(recorded, ACTUAL) == []


def test_a_route_leads_to_the_active_version_and_to_desired_applications() -> None:
    other = replace(RECORDED, active=(ActiveRow(Environment.PRODUCTION, "fraud", "2.0.0", CANDIDATE.application),))
    assert kinds(other, ACTUAL) == [(K.ROUTE_NOT_ACTIVE, "Production/fraud", None)]
    assert kinds(replace(RECORDED, plan=TrafficPlan(7)), ACTUAL) == [
        (K.ACTIVE_WITHOUT_ROUTE, "Production/fraud", None),
        (K.APPLICATION_UNNEEDED, STABLE.application, Repair.RETIRE_APPLICATION),
    ]
    assert kinds(replace(RECORDED, applications=()), replace(ACTUAL, applications={})) == [
        (K.ROUTE_WITHOUT_APPLICATION, f"Production/fraud {STABLE.application}", None)
    ]


def test_an_application_is_unneeded_without_route_deployment_and_retirement() -> None:
    warm = DesiredRow(desired("Production-fraud-c", "0.9.0"))
    recorded = replace(RECORDED, applications=(*RECORDED.applications, warm))
    running = {STABLE.application: state(STABLE.application), warm.name: state(warm.name)}
    actual = replace(ACTUAL, applications=running)
    assert kinds(recorded, actual) == [(K.APPLICATION_UNNEEDED, warm.name, Repair.RETIRE_APPLICATION)]
    assert kinds(recorded, replace(actual, open_workflows={f"retirement/{warm.name}": None})) == []


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ({}, [(K.APPLICATION_MISSING, STABLE.application, Repair.SEND_APPLICATIONS)]),
        (
            {STABLE.application: state(STABLE.application, ApplicationHealth.STOPPING)},
            [(K.APPLICATION_MISSING, STABLE.application, Repair.SEND_APPLICATIONS)],
        ),
        (
            {STABLE.application: state(STABLE.application, wanted=1)},
            [(K.APPLICATION_DIFFERS, STABLE.application, Repair.SEND_APPLICATIONS)],
        ),
        (
            {STABLE.application: state(STABLE.application), "theirs": state("theirs")},
            [(K.APPLICATION_UNKNOWN, "theirs", Repair.SEND_APPLICATIONS)],
        ),
        (
            {STABLE.application: state(STABLE.application, ApplicationHealth.FAILED, message="no GPU")},
            [(K.APPLICATION_NOT_RUNNING, STABLE.application, None)],
        ),
    ],
)
def test_what_ray_serve_runs_is_what_the_rows_desire(
    running: dict[str, ApplicationState], expected: list[tuple[FindingKind, str, Repair | None]]
) -> None:
    assert kinds(RECORDED, replace(ACTUAL, applications=running)) == expected


def test_the_number_of_replicas_that_scale_by_load_is_ray_serves_own() -> None:
    one = desired(STABLE.application, "1.0.0")
    spec = replace(one.spec, resources=ReplicaResources(min_replicas=1, max_replicas=9))
    recorded = replace(RECORDED, applications=(DesiredRow(replace(one, spec=spec)),))
    running = {STABLE.application: state(STABLE.application, wanted=7)}
    assert kinds(recorded, replace(ACTUAL, applications=running)) == []


def test_a_routed_application_that_ray_serve_refused_needs_a_person() -> None:
    aside = DesiredRow(desired(STABLE.application, "1.0.0"), "no such module")
    recorded = replace(RECORDED, applications=(aside,))
    assert kinds(recorded, replace(ACTUAL, applications={})) == [(K.APPLICATION_SET_ASIDE, STABLE.application, None)]


def test_a_proxy_has_the_newest_generation_and_all_of_its_routes() -> None:
    reports = (
        ProxyReport("envoy-0", 6, 1.0, problem="rejected"),
        ProxyReport("envoy-1", 9, 1.0),
        ProxyReport("envoy-2", 7, 1.0, held={"Production/fraud": "no endpoint", "Production/gone": "no route"}),
    )
    assert kinds(RECORDED, replace(ACTUAL, proxies=tuple(live(reports)))) == [
        (K.PROXY_BEHIND, "envoy-0", Repair.PUBLISH_PLAN),
        (K.PROXY_AHEAD, "envoy-1", Repair.PUBLISH_PLAN),
        (K.ROUTE_HELD, "envoy-2 Production/fraud", None),
    ]


def test_nothing_of_a_model_with_an_open_deployment_is_a_finding() -> None:
    """Its workflow is changing routes and applications, so a repair would fight it."""
    wrong = replace(UNDER_WAY, applications=(), active=())
    actual = replace(ACTUAL, open_workflows=OPEN, applications={})
    held = (ProxyReport("envoy-0", 7, 1.0, held={"Production/fraud": "no endpoint"}),)
    assert kinds(wrong, replace(actual, proxies=tuple(live(held)))) == []


def test_a_server_that_does_not_answer_is_a_finding_and_what_it_knows_is_not_guessed() -> None:
    unread = {"Temporal": "it doesn't answer", "Ray Serve": "refused", "Redis": "timed out"}
    found = kinds(UNDER_WAY, ActualState(unread=unread))
    assert found == [
        (K.NOT_COMPARED, "Ray Serve", None),
        (K.NOT_COMPARED, "Redis", None),
        (K.NOT_COMPARED, "Temporal", None),
    ]


def test_without_temporal_no_deployment_is_taken_for_lost() -> None:
    ended = replace(UNDER_WAY, unfinished=())
    actual = replace(ACTUAL, open_workflows=None, applications=BOTH_RUN)
    assert kinds(UNDER_WAY, actual) == []
    assert kinds(ended, actual) == []


def test_what_only_one_look_saw_passes_by() -> None:
    first = compare(UNDER_WAY, replace(ACTUAL, applications=BOTH_RUN))
    assert confirmed(first, compare(RECORDED, ACTUAL)) == ()
    assert confirmed(compare(RECORDED, ACTUAL), first) == ()
    assert confirmed(first, first) == first


def test_a_lost_proxy_and_a_candidate_that_was_taken_out_are_findings() -> None:
    withdrawal = Withdrawal(Environment.PRODUCTION, "fraud", "dep-2", "2.0.0", Fence(1, 1), "ann", "errors", 1.0)
    report = ProxyReport("envoy-0", 7, 1.0, held={withdrawal.key: withdrawal.message}, withdrawals=(withdrawal,))
    lost = RegisteredProxy(ProxyReport("envoy-1", 7, 1.0), 61.0)
    assert kinds(RECORDED, replace(ACTUAL, proxies=(RegisteredProxy(report, 0.0), lost))) == [
        (K.CANDIDATE_WITHDRAWN, "envoy-0 Production/fraud", Repair.ABORT_DEPLOYMENT),
        (K.PROXY_LOST, "envoy-1", None),
    ]


def test_the_workflows_that_rows_expect_are_named() -> None:
    recorded = replace(UNDER_WAY, unfinished=(row(DeploymentStatus.PENDING, is_queued=True),))
    assert recorded.expected_workflows == {
        "deployment/Production/fraud",
        "queue/dep-b",
        f"retirement/{STABLE.application}",
        f"retirement/{CANDIDATE.application}",
    }
