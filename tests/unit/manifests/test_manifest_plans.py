"""What is wanted x what is so -> what is to be done, and what can't be."""

from typing import Any

import pytest

from hotswap.manifests.planning import Actual, PlannedAction, PlannedChange, plan
from hotswap.manifests.schema import Manifest
from hotswap.schemas.requests import Body
from hotswap.schemas.responses import DeploymentView, ModelView, MonitoringView, VersionView
from tests.fixtures.answers import deployment

SHA = "ab" * 32
V1 = {"version": "1.0.0", "artifactPath": "s3://ml-models/fraud/1.tar.gz"}
V2 = {"version": "2.0.0", "artifactPath": "s3://ml-models/fraud/2.tar.gz"}


def wanted(**said: Any) -> Manifest:
    return Manifest.model_validate(
        {"apiVersion": "hotswap/v1", "kind": "Model", "name": "fraud", "framework": "ONNX", **said}
    )


def asked(change: PlannedChange) -> dict[str, Any]:
    """The body that the API gets."""
    assert isinstance(change.request, Body)
    return change.request.to_json()


def model(**so: Any) -> ModelView:
    described = {"description": None, "owner": "ann", "team": None, "tags": ["a", "b"], "type": "Other"}
    return ModelView.model_validate(
        {
            "modelId": "model-1",
            "name": "fraud",
            "framework": "ONNX",
            "idempotent": True,
            "activeVersion": None,
            "activeVersions": {},
            "isArchived": False,
            "createdAt": "2030-01-01T00:00:00Z",
            "updatedAt": "2030-01-01T00:00:00Z",
            **described,
            **so,
        }
    )


def version(said: dict[str, str], **so: Any) -> VersionView:
    return VersionView.model_validate(
        {
            **said,
            "versionId": "ver-1",
            "modelId": "model-1",
            "model": "fraud",
            "framework": "ONNX",
            "checksum": SHA,
            "artifactSizeBytes": 1,
            "inputSchema": {},
            "outputSchema": {},
            "trainingMetadata": {},
            "performanceBaseline": {},
            "status": "Validated",
            "approvedBy": None,
            "approvedAt": None,
            "isDeprecated": False,
            "createdBy": "ann",
            "createdAt": "2030-01-01T00:00:00Z",
            **so,
        }
    )


def actual(*deployments: dict[str, Any], versions: tuple[VersionView, ...] | None = None, **so: Any) -> Actual:
    there = versions if versions is not None else (version(V1), version(V2))
    return Actual(
        model(**so),
        {each.version: each for each in there},
        MonitoringView(model="fraud", accuracy_drop=0.05, samples=50, on_degraded="alert", drift=True),
        [DeploymentView.model_validate(each) for each in deployments],
    )


def planned(want: Manifest, so: Actual, **how: bool) -> list[tuple[str, str, Any, Any]]:
    found = plan([want], {"fraud": so}, **how)
    assert found.problems == ()
    return [(change.action.value, change.target, change.before, change.after) for change in found.changes]


def refused(want: Manifest, so: Actual) -> str:
    found = plan([want], {"fraud": so})
    assert found.problems
    return "; ".join(found.problems)


PRODUCTION = {"Production": {"version": "2.0.0"}}


def test_all_that_is_new_is_done_in_order() -> None:
    want = wanted(
        owner="ann",
        versions=[V1, V2],
        aliases={"champion": "2.0.0"},
        monitoring={"samples": 100},
        environments={"Production": {"version": "champion", "strategyConfig": {"canaryPercentage": 5}}},
    )
    found = plan([want], {"fraud": Actual()})
    assert [change.action for change in found.changes] == [
        PlannedAction.REGISTER, PlannedAction.REGISTER, PlannedAction.ALIAS, PlannedAction.MONITOR, PlannedAction.DEPLOY
    ]  # fmt: skip
    assert asked(found.changes[0]) == {"name": "fraud", "owner": "ann", "framework": "ONNX", **V1}
    deploy = found.changes[-1]
    assert (deploy.before, deploy.after, asked(deploy)["strategyConfig"]) == (None, "2.0.0", {"canaryPercentage": 5})


def test_the_second_time_there_is_nothing_to_do() -> None:
    want = wanted(
        owner="ann",
        tags=["b", "a"],
        versions=[{**V1, "checksum": f"SHA256:{SHA}".lower()}, V2],
        aliases={"champion": "2.0.0"},
        monitoring={"samples": 50, "onDegraded": "alert"},
        environments=PRODUCTION,
    )
    so = actual(
        deployment("Active", 100.0),
        activeVersions={"Production": "2.0.0"},
        aliases={"champion": "2.0.0", "old": "1.0.0"},
    )
    assert plan([want], {"fraud": so}) == plan([], {})


def test_what_is_described_otherwise_is_changed_and_the_rest_is_not() -> None:
    want = wanted(owner="bob", tags=["a"], description=None, team="payments", monitoring={"onDegraded": "rollback"})
    assert planned(want, actual(description="old")) == [
        ("change", "description", "old", None),
        ("change", "owner", "ann", "bob"),
        ("change", "team", None, "payments"),
        ("change", "tags", ["a", "b"], ["a"]),
        ("monitor", "onDegraded", "alert", "rollback"),
    ]
    assert planned(wanted(), actual(description="old")) == []


def test_what_records_keep_is_changed_before_anything_is_deployed() -> None:
    want = wanted(
        versions=[V2],
        environments=PRODUCTION,
        recordFeatures="sample",
        recordSampleRate=0.2,
        dropFields=["ssn", "name"],
    )
    assert [each[:2] for each in planned(want, Actual())] == [
        ("register", "2.0.0"),
        ("change", "recordFeatures"),
        ("change", "recordSampleRate"),
        ("change", "dropFields"),
        ("deploy", "Production"),
    ]
    so = actual(recordFeatures="sample", recordSampleRate=0.1, dropFields=["name", "ssn"])
    assert planned(wanted(recordFeatures="sample", recordSampleRate=0.2, dropFields=["ssn", "name"]), so) == [
        ("change", "recordSampleRate", 0.1, 0.2)
    ]
    assert planned(wanted(dropFields=[]), so) == [("change", "dropFields", ["name", "ssn"], [])]


def test_an_alias_moves_and_goes() -> None:
    so = actual(aliases={"champion": "1.0.0", "old": "1.0.0"})
    assert planned(wanted(aliases={"champion": "2.0.0", "old": None}), so) == [
        ("alias", "champion", "1.0.0", "2.0.0"),
        ("alias", "old", "1.0.0", None),
    ]


def test_another_version_serves_so_the_wanted_one_is_deployed() -> None:
    so = actual(deployment("Active", 100.0, version="1.0.0"), activeVersions={"Production": "1.0.0"})
    assert planned(wanted(environments=PRODUCTION), so) == [("deploy", "Production", "1.0.0", "2.0.0")]


def test_what_is_on_its_way_is_waited_for_and_not_started_again() -> None:
    so = actual(deployment("Progressing", 10.0), activeVersions={"Production": "1.0.0"})
    found = plan([wanted(environments=PRODUCTION)], {"fraud": so})
    assert (found.changes, found.problems) == ((), ())
    assert found.under_way == ("fraud 2.0.0 is on its way to Production by dep-1",)


@pytest.mark.parametrize("conflict", ["queue", "supersede"])
def test_where_another_is_on_its_way_it_is_asked_for_only_if_the_file_says_how(conflict: str) -> None:
    so = actual(deployment("Progressing", 10.0, version="1.0.0"), activeVersions={"Production": "2.0.0"})
    assert "dep-1 is deploying 1.0.0 there" in refused(wanted(environments=PRODUCTION), so)
    said = {"Production": {"version": "2.0.0", "onConflict": conflict}}
    (change,) = plan([wanted(environments=said)], {"fraud": so}).changes
    assert asked(change)["onConflict"] == conflict


@pytest.mark.parametrize(
    "ended",
    [
        deployment("RolledBack", 0.0, message="errors 12%"),
        deployment("Cancelled", 0.0, message="aborted by ann"),
        deployment("Failed", 0.0),
        deployment("Active", 100.0, kind="rollback", version="1.0.0", previousVersion="2.0.0"),
    ],
)
def test_what_was_taken_back_goes_there_again_only_if_somebody_says_so(ended: dict[str, Any]) -> None:
    so = actual(ended, activeVersions={"Production": "1.0.0"})
    want = wanted(environments=PRODUCTION)
    assert "--again" in refused(want, so)
    assert planned(want, so, again=True) == [("deploy", "Production", "1.0.0", "2.0.0")]
    later = actual(deployment("Active", 100.0, version="1.0.0"), ended, activeVersions={"Production": "1.0.0"})
    assert len(planned(want, later)) == 1  # since then it went to another version, by a rollout


@pytest.mark.parametrize(
    ("want", "so", "why"),
    [
        (wanted(), Actual(), "no version that would make it"),
        (wanted(owner="bob"), actual(isArchived=True), "is archived"),
        (wanted(versions=[{**V1, "artifactPath": "s3://ml-models/x"}]), actual(), "a version never changes"),
        (wanted(versions=[{**V1, "checksum": "cd" * 32}]), actual(), "checksum is abab"),
        (wanted(framework="XGBoost", versions=[V1]), actual(), "framework is ONNX, not XGBoost"),
        (wanted(versions=[{**V1, "performanceBaseline": {"f1": 1}}]), actual(), "performanceBaseline is {}"),
        (wanted(aliases={"champion": "9.0.0"}), actual(), "there is no version 9.0.0"),
        (wanted(environments={"Staging": {"version": "9.0.0"}}), actual(), "fraud: Staging: there is no version 9.0.0"),
        (wanted(environments={"Staging": {"version": "best"}}), actual(), "there is no version best"),
        (wanted(aliases={"best": None}, environments={"Staging": {"version": "best"}}), actual(), "no version best"),
        (wanted(idempotent=False), actual(), "with a new version only"),
        (
            wanted(environments=PRODUCTION),
            actual(versions=(version(V2, isDeprecated=True, deprecation="leaks"),)),
            "2.0.0 is deprecated: leaks",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_begun(want: Manifest, so: Actual, why: str) -> None:
    assert why in refused(want, so)


def test_the_key_is_the_same_for_the_same_wish_and_another_once_something_has_happened() -> None:
    def key(so: Actual, **more: Any) -> str:
        (change,) = plan([wanted(environments={"Production": {"version": "2.0.0", **more}})], {"fraud": so}).changes
        assert isinstance(change, PlannedChange)
        return str(change.idempotency_key)

    before = actual(activeVersions={"Production": "1.0.0"})
    assert key(before) == key(before)
    assert key(before) != key(before, strategyConfig={"canaryPercentage": 5})
    since = actual(deployment("Active", 100.0, version="1.0.0"), activeVersions={"Production": "1.0.0"})
    assert key(since) != key(before)


def test_a_contract_change_that_is_accepted_is_asked_for_so() -> None:
    said = {"version": "2.0.0"}
    for accepted in (False, True):
        want = wanted(environments={"Production": {**said, "acceptContractChange": accepted}})
        (change,) = plan([want], {want.name: actual(versions=(version(V1), version(V2)))}).changes
        assert asked(change)["acceptContractChange"] is accepted


def test_a_version_may_say_whatever_registers_one() -> None:
    more = {"derivedFrom": [{"version": "1.0.0"}], "requirements": ["lifelines>=0.27"], "checksum": f"sha256:{SHA}"}
    (change,) = plan([wanted(versions=[{**V2, **more}])], {"fraud": actual(versions=())}).changes
    assert asked(change) == {"name": "fraud", "framework": "ONNX", **V2, **more, "checksum": SHA}


def test_the_same_checksum_may_be_written_otherwise() -> None:
    assert planned(wanted(versions=[{**V1, "checksum": f"sha256:{SHA.upper()}"}]), actual()) == []
