"""Hostile and mistaken input is refused, with the field named as it stands in the JSON."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from api.deployments import plan
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Role, Strategy
from hotswap.schemas.requests import Body, CreateDeployment, RegisterVersion
from hotswap.settings import Settings
from tests.fixtures.api_settings import bearer

SEED = {"name": "fraud", "version": "2.0.0", "framework": "ONNX", "artifactPath": "s3://ml-models/fraud/v2.tar.gz"}

NESTED: Any = {"x": 1}
for _ in range(100):
    NESTED = {"x": NESTED}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Fraud"}, "name"),
        ({"name": "-fraud"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "fraud\n"}, "name"),
        ({"name": "fraud\u0000"}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"version": "v2.0.0"}, "version"),
        ({"version": "2.0"}, "version"),
        ({"version": "2.0.0-" + "a" * 60}, "version"),
        ({"framework": "Onnx"}, "framework"),
        ({"artifactPath": "http://ml-models/x"}, "artifactPath"),
        ({"artifactPath": "s3://ml-models"}, "artifactPath"),
        ({"artifactPath": "s3://ml-models/a b"}, "artifactPath"),
        ({"artifactPath": "s3://ml-models/" + "a" * 600}, "artifactPath"),
        ({"checksum": "sha256:12"}, "checksum"),
        ({"checksum": "z" * 64}, "checksum"),
        ({"type": "Oracle"}, "type"),
        ({"tags": ["a"] * 51}, "tags"),
        ({"tags": [""]}, "tags.0"),
        ({"idempotent": "no"}, "idempotent"),
        ({"description": "x" * 2_001}, "description"),
        ({"performanceBaseline": {"accuracy": 1.1}}, "performanceBaseline.accuracy"),
        ({"performanceBaseline": {"acuracy": 0.9}}, "performanceBaseline.acuracy"),
        ({"artifact_path": "s3://a-b/c"}, "artifact_path"),
        ({"isAdmin": True}, "isAdmin"),
        ({"trainingMetadata": {"a": ["\u0000"]}}, "trainingMetadata.a.0"),
        ({"trainingMetadata": {"\ud800": 1}}, "trainingMetadata"),
        ({"trainingMetadata": NESTED}, "trainingMetadata"),
    ],
)
async def test_a_bad_registration_names_its_field(
    api: httpx.AsyncClient, settings: Settings, changes: dict[str, Any], field: str
) -> None:
    import json

    content = json.dumps({**SEED, **changes})
    answer = await api.post("/api/v1/models", content=content, headers=bearer(settings, Role.ADMIN))
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (400, "VALIDATION_ERROR")
    assert field in {problem["field"] for problem in told["details"]}, told


async def test_every_missing_field_is_named(api: httpx.AsyncClient, settings: Settings) -> None:
    answer = await api.post("/api/v1/models", json={}, headers=bearer(settings, Role.ADMIN))
    details = answer.json()["error"]["details"]
    assert {problem["field"] for problem in details} == {"name", "version", "framework", "artifactPath"}
    assert {problem["message"] for problem in details} == {"is required"}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
async def test_numbers_that_are_none_are_refused(api: httpx.AsyncClient, settings: Settings, number: str) -> None:
    content = f'{{"modelId": "fraud", "strategyConfig": {{"canaryPercentage": {number}}}}}'
    answer = await api.post("/api/v1/deployments", content=content, headers=bearer(settings, Role.ADMIN))
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (400, "VALIDATION_ERROR")
    assert told["details"][0]["field"] == "strategyConfig.canaryPercentage"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"modelId": "../etc"}, "modelId"),
        ({"modelId": None}, "modelId"),
        ({"strategy": "BlueGreen"}, "strategy"),
        ({"strategy": "Yolo"}, "strategy"),
        ({"environment": "production"}, "environment"),
        ({"version": "1.0.0", "versionId": "ver-1"}, "body"),
        ({"strategyConfig": {"canaryPercentag": 10}}, "strategyConfig.canaryPercentag"),
        ({"strategyConfig": {"canaryPercentage": 0}}, "strategyConfig.canaryPercentage"),
        ({"strategyConfig": {"canaryPercentage": 101}}, "strategyConfig.canaryPercentage"),
        ({"strategyConfig": {"initialPercentage": 101}}, "strategyConfig.initialPercentage"),
        ({"strategyConfig": {"incrementStep": 0.001}}, "incrementStep"),
        ({"strategyConfig": {"monitoringDuration": "five minutes"}}, "strategyConfig.monitoringDuration"),
        ({"strategyConfig": {"monitoringDuration": "P90D"}}, "strategyConfig.monitoringDuration"),
        ({"strategyConfig": {"monitoringDuration": 5}}, "strategyConfig.monitoringDuration"),
        ({"strategyConfig": {"steps": [{"weight": True}]}}, "strategyConfig.steps.0.weight"),
        ({"strategyConfig": {"steps": [{"weight": 1, "pause": {"limit": 5}}]}}, "strategyConfig.steps.0.pause.limit"),
        ({"strategyConfig": {"steps": [{"weight": 100}, {"weight": 10}]}}, "steps.1.weight"),
        ({"strategyConfig": {"bakeDeadline": "PT1M"}}, "bakeDeadline"),
        ({"strategyConfig": {"rollbackThresholds": {"oops": 1}}}, "strategyConfig.rollbackThresholds.oops"),
        ({"strategyConfig": {"replicas": 0}}, "strategyConfig.replicas"),
        ({"strategyConfig": {"numGpus": -1}}, "strategyConfig.numGpus"),
        ({"strategyConfig": {"replicas": 1}, "resources": {"replicas": 1}}, "strategyConfig.replicas"),
        ({"resources": {"replicas": 101}}, "resources.replicas"),
        ({"resources": {"gpus": 1.5}}, "resources.gpus"),
        ({"resources": {"memory": 1}}, "resources.memory"),
    ],
)
async def test_a_bad_deployment_names_its_field(
    api: httpx.AsyncClient, settings: Settings, changes: dict[str, Any], field: str
) -> None:
    body = {"modelId": "fraud", **changes}
    answer = await api.post("/api/v1/deployments", json=body, headers=bearer(settings, Role.ADMIN))
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (400, "VALIDATION_ERROR")
    assert field in {problem["field"] for problem in told["details"]}, told


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "naïve"])
async def test_an_idempotency_key_is_short_and_printable(api: httpx.AsyncClient, settings: Settings, key: str) -> None:
    headers = httpx.Headers({**bearer(settings, Role.ADMIN), "Idempotency-Key": key}, encoding="utf-8")
    answer = await api.post("/api/v1/deployments", json={"modelId": "fraud"}, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models/%00",
        "/api/v1/models/a%27b",
        "/api/v1/models/fraud/versions/%00",
        "/api/v1/deployments/%ff",
        "/api/v1/deployments/dep-1%0a",
        "/api/v1/models?limit=0",
        "/api/v1/models?limit=x",
        "/api/v1/models?framework=Fortran",
        "/api/v1/deployments?model=%00",
        "/api/v1/deployments?offset=99999999999999999999",
    ],
)
async def test_paths_and_queries_are_checked_before_any_query_is_made(
    api: httpx.AsyncClient, settings: Settings, path: str
) -> None:
    answer = await api.get(path, headers=bearer(settings, Role.VIEWER))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


def test_the_seeds_deployment_is_enough_and_has_the_defaults(settings: Settings) -> None:
    body = CreateDeployment.model_validate({"modelId": "model-123", "strategyConfig": {"canaryPercentage": 10}})
    config, resources = plan(body, Strategy.CANARY, settings)
    assert [step.weight for step in config.plan()][:3] == [1_000, 2_500, 4_000]
    assert (resources.replicas, resources.gpus) == (1, 0)


def test_resources_are_taken_from_the_strategys_configuration(settings: Settings) -> None:
    body = CreateDeployment.model_validate({"modelId": "m", "strategyConfig": {"replicas": 3, "numGpus": 2}})
    config, resources = plan(body, Strategy.CANARY, settings)
    assert (resources.replicas, resources.gpus) == (3, 2)
    assert "replicas" not in config.model_dump()


def test_too_many_steps_are_refused(settings: Settings) -> None:
    body = CreateDeployment.model_validate({"modelId": "m", "strategyConfig": {"incrementStep": 0.01}})
    with pytest.raises(ValidationFailed, match="incrementStep"):
        plan(body, Strategy.CANARY, settings)


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ({"minReplicas": 2, "maxReplicas": 4}, (2, 2, 4)),
        ({"replicas": 3, "minReplicas": 2, "maxReplicas": 4}, (3, 2, 4)),
        ({"replicas": 3}, (3, None, None)),
    ],
)
def test_bounds_let_replicas_scale_by_load(
    settings: Settings, said: dict[str, int], has: tuple[int, int | None, int | None]
) -> None:
    body = CreateDeployment.model_validate({"modelId": "m", "resources": said})
    _, resources = plan(body, Strategy.CANARY, settings)
    assert (resources.replicas, resources.min_replicas, resources.max_replicas) == has


@pytest.mark.parametrize(
    ("resources", "config", "said"),
    [
        ({"minReplicas": 2}, {}, "give both, or neither"),
        ({"replicas": 5, "minReplicas": 2, "maxReplicas": 4}, {}, "5 is not within minReplicas 2 and maxReplicas 4"),
        ({"replicas": 4}, {"steps": [{"weight": 50, "scale": {"replicas": 1}}]}, "1 of 4 replicas hold 25%"),
        ({"replicas": 4}, {"steps": [{"weight": 50, "scale": {"replicas": 5}}]}, "more than the 4"),
        (
            {"minReplicas": 1, "maxReplicas": 4},
            {"steps": [{"weight": 50, "scale": {"replicas": 1}}]},
            "bounds are given",
        ),
    ],
)
def test_replicas_that_could_not_hold_their_weight_are_refused(
    settings: Settings, resources: dict[str, int], config: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValidationFailed, ValidationError), match=said):
        plan(
            CreateDeployment.model_validate({"modelId": "m", "resources": resources, "strategyConfig": config}),
            Strategy.CANARY,
            settings,
        )


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ({}, (1, 0)),
        ({"maxBatchSize": 16}, (16, 0.005)),
        ({"maxBatchSize": 2, "batchWait": "PT0.02S"}, (2, 0.02)),
    ],
)
@pytest.mark.parametrize("place", ["resources", "strategyConfig"])
def test_requests_are_gathered_where_it_is_asked_for(
    settings: Settings, said: dict[str, Any], has: tuple[int, float], place: str
) -> None:
    body = CreateDeployment.model_validate({"modelId": "m", place: said})
    _, resources = plan(body, Strategy.CANARY, settings)
    assert (resources.max_batch_size, resources.batch_wait_seconds) == has


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"batchWait": "PT0.01S"}, "needs maxBatchSize"),
        ({"maxBatchSize": 1}, "maxBatchSize"),
        ({"maxBatchSize": 65}, "maxBatchSize"),
        ({"maxBatchSize": 8, "batchWait": "PT2S"}, "batchWait"),
        ({"maxBatchSize": 8, "batchWait": "soon"}, "batchWait"),
    ],
)
def test_batches_that_make_no_sense_are_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        CreateDeployment.model_validate({"modelId": "m", "resources": said})


def test_a_registration_carries_what_was_said() -> None:
    given = {**SEED, "checksum": "SHA256:" + "AB" * 32, "tags": ["x"], "idempotent": False}
    registration = RegisterVersion.model_validate(given).registration(requested_by="dora")
    assert registration.idempotent is False
    assert (registration.owner, registration.checksum, registration.tags) == ("dora", "ab" * 32, ("x",))


def bodies(kind: type[Body] = Body) -> Iterator[type[Body]]:
    for each in kind.__subclasses__():
        yield each
        yield from bodies(each)


BODIES = [each for each in bodies() if each.__module__.startswith("hotswap.schemas.requests")]
SPELLED = [
    pytest.param(kind, name, field.alias, id=f"{kind.__name__}.{name}")
    for kind in BODIES
    for name, field in kind.model_fields.items()
    if field.alias != name and kind.model_config["extra"] == "forbid"
]


@pytest.mark.parametrize(("kind", "name", "alias"), SPELLED)
def test_what_is_read_has_the_names_of_json_and_what_is_made_may_have_pythons(
    kind: type[Body], name: str, alias: str
) -> None:
    """As FastAPI reads it, and as the client makes it."""

    def unknown(make: Callable[[], object]) -> set[tuple[int | str, ...]]:
        with pytest.raises(ValidationError) as refused:
            make()
        return {each["loc"] for each in refused.value.errors() if each["type"] == "extra_forbidden"}

    strange = {"noSuchField": 1}
    assert unknown(lambda: TypeAdapter(kind).validate_python({name: None, **strange})) == {(name,), ("noSuchField",)}
    assert unknown(lambda: TypeAdapter(kind).validate_python({alias: None, **strange})) == {("noSuchField",)}
    assert unknown(lambda: kind(**{name: None}, **strange)) == {("noSuchField",)}
    assert unknown(lambda: kind(**{alias: None}, **strange)) == {("noSuchField",)}
