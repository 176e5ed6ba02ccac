"""A candidate that answers quickly, without errors and wrongly: it is rolled back once outcomes are reported."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hotswap.demo.models import GOLDEN, TrainedModels, export, pack
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.vocabulary import InferenceStatus
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import AsyncInferenceView, PredictionView
from tests.fixtures import work
from tests.fixtures.outcomes import asked_and_told
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack, hotswap, worker_to_oneself
from tests.fixtures.work import ended

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "mistaken"
CANARY = {
    "canaryPercentage": 50,
    "monitoringDuration": "PT2M",
    "minimumRequests": 30,
    "rollbackThresholds": {"accuracyDrop": 0.05, "latencyIncrease": 100},
    "analysis": {"alpha": 0.1},
    **work.UNTRIED,
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> TrainedModels:
    """A version that takes the malignant for benign and the other way round: its golden requests show nothing of it."""
    data = load_breast_cancer()
    rows = data.data.astype(np.float32)
    upside_down = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)).fit(rows, 1 - data.target)
    answers = [
        {"features": row.tolist(), "prediction": int(label)}
        for row, label in zip(rows[:GOLDEN], upside_down.predict(rows[:GOLDEN]), strict=True)
    ]
    path: Path = tmp_path_factory.mktemp("mistaken") / "model.tar.gz"
    return TrainedModels([row.tolist() for row in rows], {"2.0.0": pack(path, export(upside_down, rows), answers)})


def test_a_candidate_that_is_wrong_more_often_is_rolled_back(
    stack: Stack, register: Callable[[str, str], None], mistaken: TrainedModels
) -> None:
    register(MODEL, "1.0.0")
    work.register(stack, mistaken, MODEL, "2.0.0")
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="1.0.0")).deployment_id)
    assert first.status is S.ACTIVE, first.message
    with asked_and_told(stack, MODEL, mistaken.requests):
        last = ended(
            stack,
            stack.api.deployments.start(
                CreateDeployment(model_id=MODEL, version="2.0.0", strategy_config=CANARY)
            ).deployment_id,
        )
    assert (last.status, last.reason) == (S.ROLLED_BACK, "AccuracyDropped"), last.message
    accuracy = {version: correct / labels for version, labels, correct in _counted(stack)}
    assert accuracy["1.0.0"] > 0.9
    assert accuracy["2.0.0"] < 0.1


@pytest.fixture(scope="module")
def labelled(stack: Stack, register: Callable[[str, str], None]) -> str:
    register("labelled", "1.0.0")
    assert (
        ended(
            stack, stack.api.deployments.start(CreateDeployment(model_id="labelled", version="1.0.0")).deployment_id
        ).status
        is S.ACTIVE
    )
    return "labelled"


@pytest.mark.usefixtures("labelled")
def test_a_label_reported_by_hand_is_counted(stack: Stack, trained: TrainedModels) -> None:
    answer = stack.api.inference.infer("labelled", trained.requests[0])
    said = hotswap("outcome", answer.request_id, json.dumps(answer.prediction), "--json", data=stack.data)
    assert json.loads(said.stdout) == {"accepted": 1}
    wait_until(lambda: _counted(stack, "labelled") == [("1.0.0", 1, 1)], what="the outcome to be counted")


def test_what_was_accepted_is_answered_once_though_its_worker_is_killed(
    stack: Stack, labelled: str, trained: TrainedModels
) -> None:
    rows = trained.requests[:60]
    expected = [each["prediction"] for each in stack.api.inference.infer_batch(labelled, rows).predictions]

    def hand_in(some: Sequence[list[float]]) -> list[str]:
        return [stack.api.inference.infer_later(labelled, features=row).request_id for row in some]

    def answers() -> list[AsyncInferenceView]:
        return [stack.api.inference.status(request_id) for request_id in accepted]

    with worker_to_oneself(stack):
        accepted = hand_in(rows[:40])
        os.kill(stack.pid("worker"), signal.SIGKILL)
        accepted += hand_in(rows[40:])
        wait_until(lambda: all(each.is_over for each in answers()), seconds=60, what="an answer to each")
    assert {each.status for each in answers()} == {InferenceStatus.COMPLETED}
    assert [each.result.prediction for each in answers() if isinstance(each.result, PredictionView)] == expected
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        query = "SELECT request_id FROM inference_requests WHERE request_id = ANY(%s)"
        wait_until(lambda: len(database.execute(query, [accepted]).fetchall()) >= 60, what="their records")
        assert sorted(each for (each,) in database.execute(query, [accepted])) == sorted(accepted), "each once"


def _counted(stack: Stack, model: str = MODEL) -> list[tuple[str, int, int]]:
    """Version, outcomes, and how many of them it had predicted."""
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        found = database.execute(
            "SELECT version, sum(labels)::int, sum(correct)::int FROM outcome_rollups"
            " WHERE model = %s AND width_seconds = 3600 GROUP BY version ORDER BY version",
            [model],
        )
        return [(version, labels, correct) for version, labels, correct in found]
