"""The main job, as its users meet it: register, deploy, infer, canary, and stop a version by hand.

That a bad one is stopped by itself is in test_canaries.py.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from sklearn.linear_model import LinearRegression

from hotswap.client import ApiError
from hotswap.demo.models import TrainedModels
from hotswap.demo.traffic import DemoAnswer
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from hotswap.schemas.responses import DeploymentView, RegistrationStatus, RegistrationView
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack, worker_to_oneself
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

LONG = {"canaryPercentage": 20, "incrementStep": 40, "monitoringDuration": "PT60S"}
SHORT = {"canaryPercentage": 30, "incrementStep": 70, "monitoringDuration": "PT3S", "bakeDeadline": "PT120S"}

Register = Callable[[str, str], None]


@pytest.fixture(scope="module")
def served(stack: Stack, register: Register) -> str:
    """A model whose first version serves and whose second is registered."""
    for version in ("1.0.0", "2.0.0"):
        register("served", version)
    first = ended(
        stack, stack.api.deployments.start(CreateDeployment(model_id="served", version="1.0.0")).deployment_id
    )
    assert first.status is S.ACTIVE, first.message
    return "served"


# --- registration -----------------------------------------------------------------------------------------------------


def upload(stack: Stack, name: str, content: bytes, directory: Path) -> str:
    path = directory / "artifact"
    path.write_bytes(content)
    uri = f"s3://ml-models/bad/{name}"
    stack.storage.upload(path, uri)
    return uri


def refusal(stack: Stack, **fields: Any) -> tuple[str | None, list[str]]:
    """The code and the fields of a registration's refusal: it may come after the API has answered 202."""
    answer = stack.http.post("/api/v1/models", json={"name": "bad", "version": "1.0.0", "framework": "ONNX", **fields})
    if answer.status_code != httpx.codes.ACCEPTED:
        assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
        error = answer.json()["error"]
        return error["code"], [detail["field"] for detail in error["details"]]

    def failed() -> RegistrationView | None:
        seen = stack.api.versions.registration("bad", "1.0.0")
        return seen if seen.status is RegistrationStatus.FAILED else None

    seen = wait_until(failed, seconds=60, what="the end of a registration that is refused")
    return seen.code, [detail.field for detail in seen.details]


def tar_with(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("artifactPath", {"artifactPath": "s3://ml-models/bad/absent.tar.gz"}),
        ("artifactPath", {"artifactPath": "/etc/passwd"}),
        ("checksum", {"checksum": "0" * 64}),
        ("framework", {"framework": "Fortran"}),
        ("name", {"name": "Not A Name"}),
        ("version", {"version": "two"}),
    ],
)
def test_a_wrong_registration_is_refused_naming_the_field(
    stack: Stack, trained: TrainedModels, field: str, change: dict[str, Any]
) -> None:
    good = "s3://ml-models/bad/good.tar.gz"
    stack.storage.upload(trained.archives["1.0.0"], good)
    assert refusal(stack, **{"artifactPath": good, **change}) == ("VALIDATION_ERROR", [field])
    assert stack.http.get("/api/v1/models/bad").status_code == 404, "nothing is half registered"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("not-an-archive", b"hello", id="not-an-archive"),
        pytest.param("escapes", tar_with("../../escaped", b"x"), id="escapes"),
        pytest.param("no-model", tar_with("readme.txt", b"x"), id="no-model"),
        pytest.param("not-a-graph", tar_with("model.onnx", b"garbage"), id="not-a-graph"),
    ],
)
def test_a_bad_artifact_is_refused(stack: Stack, tmp_path: Path, name: str, content: bytes) -> None:
    _, fields = refusal(stack, artifactPath=upload(stack, name, content, tmp_path))
    assert fields[0] == "artifactPath"
    assert stack.http.get("/api/v1/models/bad").status_code == 404


def test_a_version_is_registered_once(stack: Stack, register: Register) -> None:
    register("once", "1.0.0")
    with pytest.raises(ApiError) as refusal:
        register("once", "1.0.0")
    assert refusal.value.status == 409
    version = stack.api.versions.get("once", "1.0.0")
    assert version.input_schema["minItems"] == 30
    assert len(version.checksum) == 64


# --- other frameworks -------------------------------------------------------------------------------------------------


ROWS = np.random.default_rng(0).random((100, 3))
AMOUNT = ROWS @ [1.0, 2.0, 3.0]
SIGNATURE = json.dumps([{"type": "double", "name": name, "required": True} for name in ("age", "income", "debt")])
MLMODEL = f"""flavors:
  sklearn: {{code: null, pickled_model: model.skops, serialization_format: skops, sklearn_version: 1.9.0}}
mlflow_version: 3.18.0
signature: {{inputs: '{SIGNATURE}', outputs: null, params: null}}
"""


def test_models_of_other_frameworks_are_served_also_in_batches(stack: Stack, tmp_path: Path) -> None:
    import skops.io  # it brings PyTorch with it, for which the other processes of e2e have no use
    import xgboost

    boosted = xgboost.XGBRegressor(n_estimators=5, max_depth=3).fit(ROWS, AMOUNT)
    linear = LinearRegression().fit(ROWS, AMOUNT)
    boosted.get_booster().save_model(tmp_path / "model.ubj")
    skops.io.dump(linear, tmp_path / "model.skops")
    (tmp_path / "MLmodel").write_text(MLMODEL)
    started = {}
    for model, framework, files, resources in (
        ("boosted", "XGBoost", ["model.ubj"], {"maxBatchSize": 8, "batchWait": "PT0.05S"}),
        ("linear", "ScikitLearn", ["MLmodel", "model.skops"], None),
    ):
        with tarfile.open(tmp_path / "archive", "w:gz") as archive:
            for name in files:
                archive.add(tmp_path / name, f"model/{name}")
        uri = f"s3://ml-models/{model}/1.0.0.tar.gz"
        stack.storage.upload(tmp_path / "archive", uri)
        stack.api.models.register(RegisterVersion(name=model, version="1.0.0", framework=framework, artifact_path=uri))
        stack.api.versions.await_registration(model, "1.0.0")
        started[model] = stack.api.deployments.start(
            CreateDeployment(model_id=model, version="1.0.0", resources=resources)
        ).deployment_id
    for deployment_id in started.values():
        last = ended(stack, deployment_id)
        assert last.status is S.ACTIVE, last.message
    rows = ROWS[:16].tolist()
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda row: ask(stack, "boosted", row), rows))
    assert [each["prediction"] for each in answers] == pytest.approx(boosted.predict(ROWS[:16]).tolist(), rel=1e-5)
    by_name = {"debt": rows[0][2], "age": rows[0][0], "income": rows[0][1]}
    assert ask(stack, "linear", by_name)["prediction"] == pytest.approx(AMOUNT[0])
    told = stack.http.get("/v2/models/boosted").json()
    assert told["properties"] == {"device": "cpu"}


def ask(stack: Stack, model: str, features: Any) -> dict[str, Any]:
    answer = stack.http.post(f"/api/v1/inference/{model}", json={"features": features})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- inference --------------------------------------------------------------------------------------------------------


def test_inference_answers_one_and_many(stack: Stack, served: str, trained: TrainedModels) -> None:
    row = trained.requests[0]
    one = stack.http.post(f"/api/v1/inference/{served}", json={"features": row})
    assert one.status_code == 200, one.text
    assert one.json()["version"] == one.headers["x-hotswap-version"] == "1.0.0"
    assert set(one.json()) == {
        "requestId", "modelName", "version", "prediction", "confidence", "latencyMs", "timestamp",
    }  # fmt: skip
    many = stack.http.post(f"/api/v1/inference/{served}/batch", json={"instances": trained.requests[:5]})
    assert len(many.json()["predictions"]) == 5
    assert many.json()["predictions"][0]["prediction"] == one.json()["prediction"]


def test_what_does_not_fit_is_refused_in_the_error_format(stack: Stack, served: str, trained: TrainedModels) -> None:
    row = [*trained.requests[0][:3], "four", *trained.requests[0][4:]]
    misfit = stack.http.post(f"/api/v1/inference/{served}", json={"features": row})
    assert misfit.status_code == 400
    assert misfit.json()["error"]["code"] == "SCHEMA_VALIDATION_ERROR"
    assert misfit.json()["error"]["details"][0]["field"] == "features[3]"
    unknown = stack.http.post("/api/v1/inference/nobody", json={"features": row})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
    other = stack.http.post(f"/api/v1/inference/{served}", json={"features": trained.requests[0], "version": "9.0.0"})
    assert other.status_code == 409
    assert "X-HotSwap-Version" in other.json()["error"]["message"]


def test_nobody_gets_in_without_a_token(stack: Stack, served: str, trained: TrainedModels) -> None:
    with httpx.Client(base_url=stack.url, timeout=patient(30)) as anonymous:
        for method, path in (
            ("POST", f"/api/v1/inference/{served}"), ("GET", "/api/v1/models"), ("POST", "/api/v1/deployments"),
        ):  # fmt: skip
            answer = anonymous.request(method, path, json={"features": trained.requests[0]})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED"), path
        for path in ("/health", "/health/ready", "/swagger"):
            assert anonymous.get(path, follow_redirects=True).status_code == 200, path
        assert anonymous.get("/internal/traffic/plan").status_code == 404


def test_every_answer_leaves_one_record(stack: Stack, served: str, trained: TrainedModels) -> None:
    ids = []
    for row in trained.requests[:50]:
        answer = stack.http.post(f"/api/v1/inference/{served}", json={"features": row})
        ids.append(answer.json()["requestId"])
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:

        def recorded() -> list[tuple[str, int]]:
            return database.execute(
                "SELECT request_id, count(*) FROM inference_requests WHERE request_id = ANY(%s) GROUP BY 1", [ids]
            ).fetchall()

        wait_until(lambda: len(recorded()) == len(ids), what="a record of each answer")
        assert {count for _, count in recorded()} == {1}


# --- deployments ------------------------------------------------------------------------------------------------------


def test_two_deployments_at_once_are_refused_and_an_abort_by_the_temporal_cli_ends_the_first(
    stack: Stack, served: str, trained: TrainedModels
) -> None:
    with under_load(stack, served, trained) as traffic:
        first = stack.api.deployments.start(CreateDeployment(model_id=served, version="2.0.0", strategy_config=LONG))
        with pytest.raises(ApiError) as refusal:
            stack.api.deployments.start(CreateDeployment(model_id=served, version="2.0.0", strategy_config=LONG))
        assert refusal.value.status == 409
        assert first.deployment_id in str(refusal.value)
        reaches(stack, first.deployment_id, 20)
        abort_by_temporal(stack, served, given='{"by":"ann"}')
        last = ended(stack, first.deployment_id)
    assert (last.status, last.reason, last.traffic_percentage) == (S.ROLLED_BACK, "Aborted", 0)
    assert "ann" in (last.message or "")
    assert not [answer for answer in traffic.answers if not answer.succeeded]


def test_a_malformed_abort_by_the_temporal_cli_aborts_too(stack: Stack, served: str, trained: TrainedModels) -> None:
    with under_load(stack, served, trained):
        deployment = stack.api.deployments.start(
            CreateDeployment(model_id=served, version="2.0.0", strategy_config=LONG)
        )
        reaches(stack, deployment.deployment_id, 20)
        abort_by_temporal(stack, served, given='"not an object"')
        last = ended(stack, deployment.deployment_id)
    assert (last.status, last.reason) == (S.ROLLED_BACK, "Aborted")


def abort_by_temporal(stack: Stack, model: str, *, given: str) -> None:
    temporal(stack, "signal", "--workflow-id", f"deployment/Production/{model}", "--name", "abort", "--input", given)


def temporal(stack: Stack, *arguments: str) -> str:
    address = stack.environment["urls"]["temporal"]
    command = [str(Path(sys.executable).parent / "temporal"), "workflow", *arguments, "--address", address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(30)).stdout


@dataclass(frozen=True)
class Promoted:
    """2.0.0's rollout, through which the worker was killed, and what the clients saw of it."""

    last: DeploymentView
    active_version: str | None
    answers: list[DemoAnswer]


@pytest.fixture(scope="module")
def promoted(stack: Stack, served: str, trained: TrainedModels) -> Promoted:
    with worker_to_oneself(stack), under_load(stack, served, trained) as traffic:
        deployment = stack.api.deployments.start(
            CreateDeployment(model_id=served, version="2.0.0", strategy_config=SHORT)
        )
        reaches(stack, deployment.deployment_id, 30)
        os.kill(stack.pid("worker"), signal.SIGKILL)
        last = ended(stack, deployment.deployment_id)
    return Promoted(last, stack.api.models.get(served).active_version, traffic.answers)


def test_a_killed_worker_costs_a_rollout_nothing(promoted: Promoted) -> None:
    assert promoted.last.status is S.ACTIVE, promoted.last.message
    assert not [answer for answer in promoted.answers if not answer.succeeded]
    assert promoted.active_version == "2.0.0"


def test_rollback_after_the_end_goes_to_the_warm_version(
    stack: Stack, served: str, promoted: Promoted, trained: TrainedModels
) -> None:
    with under_load(stack, served, trained) as traffic:
        answer = stack.api.deployments.rollback(promoted.last.deployment_id, reason="test")
        assert answer.deployment_id != promoted.last.deployment_id
        last = ended(stack, answer.deployment_id)
        time.sleep(0.3)
    assert (last.status, last.version) == (S.ACTIVE, "1.0.0")
    assert stack.api.models.get(served).active_version == "1.0.0"
    assert not [each for each in traffic.answers if not each.succeeded]
