"""Situations of `make bench-judgement` on real servers: bad candidates that no golden request shows, and a good one.

Each model has a stable that sums two numbers, and clients that ask all the time: by JSON, and by `/v2`, where they name
its output.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hotswap.demo.models import TrainedModels, pack
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import DeploymentView
from tests.fixtures import work
from tests.fixtures.models import save_graph
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack
from tests.fixtures.work import UNTRIED, ended, reaches
from tests.suite.slowed import busy

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(400)]

GOLDEN = [{"features": [1, 2]}]
ROWS: tuple[list[float], ...] = tuple([n - 10 + (0.5 if n % 8 == 4 else 0), 1 + n % 3] for n in range(80))
"""All of them differ. One of eight has a fraction, and some of ten have a sum that has no logarithm."""
CLIENTS = 4
PAUSE_SECONDS = 0.1
CANARY: dict[str, Any] = {
    "canaryPercentage": 50,
    "incrementStep": 50,
    "monitoringDuration": "PT20S",
    "bakeDeadline": "PT60S",
    "minimumRequests": 20,
}
STABLE, CANDIDATE = "1.0.0", "2.0.0"
FLOATS, INTEGERS = TensorProto.FLOAT, TensorProto.INT64


def graph(directory: Path, *, takes: int = FLOATS, answers: str = "y", logarithm: bool = False) -> onnx.ModelProto:
    """The sum of two numbers, or its logarithm."""
    directory.mkdir()
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], to=FLOATS),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=1),
        helper.make_node("Log" if logarithm else "Identity", ["sum"], [answers]),
    ]
    save_graph(
        directory, nodes, [("x", takes, ["n", 2])], [(answers, FLOATS, ["n", 1])], axis=np.array([1], dtype=np.int64)
    )
    return onnx.load(str(directory / "model.onnx"))


@contextmanager
def asked(stack: Stack, model: str) -> Iterator[list[httpx.Response]]:
    """Ask until the block ends, and keep every answer."""
    answers: list[httpx.Response] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for row in ROWS:
                if over.is_set():
                    return
                tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": row}
                answers.append(stack.http.post(f"/api/v1/inference/{model}", json={"features": row}))
                named = {"inputs": [tensor], "outputs": [{"name": "y"}]}
                answers.append(stack.http.post(f"/v2/models/{model}/infer", json=named))
                time.sleep(PAUSE_SECONDS)

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        over.set()
        for client in clients:
            client.join(patient(30))


def registered(
    stack: Stack, tmp_path: Path, model: str, *, stable: dict[str, Any] | None = None, **candidate: Any
) -> None:
    """The stable, which serves then, and its candidate."""
    graphs = {
        STABLE: graph(tmp_path / "stable", **(stable or {})),
        CANDIDATE: graph(tmp_path / "candidate", **candidate),
    }
    archives = {version: pack(tmp_path / f"{version}.tar.gz", each, GOLDEN) for version, each in graphs.items()}
    for version in graphs:
        work.register(stack, TrainedModels([], archives), model, version)
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=model, version=STABLE)).deployment_id)
    assert first.status is S.ACTIVE, first.message


def rolled_out(stack: Stack, model: str, config: dict[str, Any]) -> DeploymentView:
    """The candidate's deployment, which somebody lets narrow the contract, once it has ended."""
    accepted = stack.api.deployments.start(
        CreateDeployment(model_id=model, version=CANDIDATE, strategy_config=config, accept_contract_change=True)
    )
    return ended(stack, accepted.deployment_id)


def bad_ones(answers: Sequence[httpx.Response]) -> list[httpx.Response]:
    return [each for each in answers if each.status_code != 200]


def bad(answers: Sequence[httpx.Response]) -> list[str]:
    return [each.text for each in bad_ones(answers)]


def after_enough_records(stack: Stack, tmp_path: Path, model: str, **candidate: Any) -> DeploymentView:
    """What is on record is asked of the candidate; no client is answered by it."""
    registered(stack, tmp_path, model, **candidate)
    with asked(stack, model) as answers:
        wait_until(lambda: len(answers) >= 400, seconds=120, what="requests to ask again")
        last = rolled_out(stack, model, CANARY)
    assert not bad(answers)
    assert {each.headers["x-hotswap-version"] for each in answers} == {STABLE}
    return last


def test_a_narrower_schema_ends_before_a_client_meets_it(victim: Stack, tmp_path: Path) -> None:
    last = after_enough_records(victim, tmp_path, "narrow", takes=INTEGERS)
    assert (last.status, last.reason) == (S.FAILED, "BacktestFailed"), last.message


def test_a_renamed_output_ends_before_a_client_meets_it(victim: Stack, tmp_path: Path) -> None:
    last = after_enough_records(victim, tmp_path, "renamed", answers="score")
    assert (last.status, last.reason) == (S.FAILED, "BacktestFailed"), last.message


@pytest.mark.parametrize(
    ("model", "candidate", "reason"),
    [
        ("narrowed", {"takes": INTEGERS}, "RefusalsIncreased"),
        ("unnamed", {"answers": "score"}, "RefusalsIncreased"),
        ("unanswered", {"logarithm": True}, "ErrorRateIncreased"),
    ],
)
def test_what_no_backtest_has_tried_is_rolled_back_and_no_client_is_turned_away(
    victim: Stack, tmp_path: Path, model: str, candidate: dict[str, Any], reason: str
) -> None:
    registered(victim, tmp_path, model, **candidate)
    with asked(victim, model) as answers:
        last = rolled_out(victim, model, CANARY | UNTRIED)
    assert (last.status, last.reason) == (S.ROLLED_BACK, reason), last.message
    assert not bad(answers)
    assert {each.headers["x-hotswap-version"] for each in answers} == {STABLE, CANDIDATE}


def test_without_traffic_nothing_is_promoted(victim: Stack, tmp_path: Path) -> None:
    registered(victim, tmp_path, "unasked")
    last = rolled_out(victim, "unasked", CANARY)
    assert (last.status, last.reason) == (S.ROLLED_BACK, "InsufficientData"), last.message


def test_the_fix_of_a_failing_stable_is_promoted(victim: Stack, tmp_path: Path) -> None:
    registered(victim, tmp_path, "broken", stable={"logarithm": True})
    with asked(victim, "broken") as answers:
        last = rolled_out(victim, "broken", CANARY)
    assert last.status is S.ACTIVE, last.message
    assert {each.headers["x-hotswap-version"] for each in bad_ones(answers)} == {STABLE}


def test_an_emergency_brings_the_fix_without_a_bake(victim: Stack, tmp_path: Path) -> None:
    registered(victim, tmp_path, "down", stable={"logarithm": True})
    with asked(victim, "down") as answers:
        wait_until(lambda: bad_ones(answers), seconds=60, what="a failure of the stable")
        accepted = victim.api.deployments.start(
            CreateDeployment(
                model_id="down", version=CANDIDATE, emergency=True, reason="every tenth answer is an error"
            )
        )
        last = ended(victim, accepted.deployment_id)
        assert last.status is S.ACTIVE, last.message
        assert [step.weight for step in last.steps] == [100]
        since = len(answers) + CLIENTS  # as many were on their way when it ended
        wait_until(lambda: len(answers) >= since + 2 * len(ROWS), seconds=60, what="answers of the fix")
    assert not bad_ones(answers[since:])


def test_a_busy_machine_at_full_weight_rolls_nothing_back(victim: Stack, tmp_path: Path) -> None:
    registered(victim, tmp_path, "crowded")
    with ExitStack() as until_then, asked(victim, "crowded"):
        deployment_id = victim.api.deployments.start(
            CreateDeployment(model_id="crowded", version=CANDIDATE, strategy_config=CANARY)
        ).deployment_id
        reaches(victim, deployment_id, 100)
        until_then.enter_context(busy(6))

        def is_over() -> bool:
            seen = victim.api.deployments.get(deployment_id)
            return seen.status is S.PAUSED or seen.status.is_terminal

        wait_until(is_over, seconds=180, what="the end of the bake at 100%")
        last = victim.api.deployments.get(deployment_id)
        if last.status is S.PAUSED:  # a person is asked, and takes it as it is
            victim.api.deployments.promote(deployment_id)
            last = ended(victim, deployment_id)
    assert last.status is S.ACTIVE, last.message
