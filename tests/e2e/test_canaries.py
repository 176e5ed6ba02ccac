"""Canaries on the real stack, of one model: asked again what was asked before, met by testers, deployed by a pipeline,
failing, and steered by a person.

1.0.0 serves and 2.0.0 is as good; 3.0.0 fails on inputs that are not among its golden requests. Each test leaves
1.0.0 serving, but for the last.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hotswap.client import ApiError
from hotswap.demo.models import BAND_WIDTH, BANDS, TrainedModels
from hotswap.demo.traffic import CLIENTS, DemoAnswer, DemoTraffic
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import DeploymentView
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack, hotswap, worker_to_oneself
from tests.fixtures.work import PAUSE_SECONDS, UNTRIED, ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "canaried"


@pytest.fixture(scope="module")
def model(stack: Stack, register: Callable[[str, str], None]) -> str:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        register(MODEL, version)
    first = ["deploy", MODEL, "--version", "1.0.0", "--wait", "--timeout", f"PT{patient(120):.0f}S"]
    hotswap(*first, expect=0, data=stack.data)
    return MODEL


def database(stack: Stack) -> "psycopg.Connection[tuple[str, ...]]":
    return psycopg.connect(stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", ""), autocommit=True)


# --- a version that fails what clients really ask ends before any of them meets it ------------------------------------


def test_what_clients_have_asked_shows_a_broken_version_before_they_meet_it(
    stack: Stack, model: str, trained: TrainedModels
) -> None:
    canary = {"canaryPercentage": 50, "backtest": {"samples": 200}}
    query = "SELECT count(*), count(*) FILTER (WHERE version = '3.0.0') FROM inference_requests WHERE model_name = %s"
    with database(stack) as rows:

        def recorded() -> tuple[int, ...]:
            return tuple(map(int, rows.execute(query, [model]).fetchall()[0]))

        with under_load(stack, model, trained) as traffic:
            wait_until(lambda: recorded()[0] >= 200, seconds=60, what="records to ask again")
            broken = ended(
                stack,
                stack.api.deployments.start(
                    CreateDeployment(model_id=model, version="3.0.0", strategy_config=canary)
                ).deployment_id,
            )
        assert (broken.status, broken.reason) == (S.FAILED, "BacktestFailed"), broken.message
        assert broken.validation is not None
        assert broken.validation.passed, "its golden requests show nothing of it"
        assert broken.backtest is not None
        assert broken.backtest.failures.hits > 10, "some fifth of what is asked"
        assert broken.backtest.failure_kinds[0].name == "500"
        assert {answer.version for answer in traffic.answers} == {"1.0.0"}
        assert not [answer for answer in traffic.answers if not answer.succeeded]
        answered = len(traffic.answers)
        wait_until(lambda: recorded()[0] >= answered, what="a record of each answer")
        assert recorded() == (answered, 0), "what a backtest asks has no record, of either version"
    told = hotswap("explain", broken.deployment_id, data=stack.data).stdout
    assert broken.backtest.failure_kinds[0].examples[0] in told


# --- testers find what validation missed, before anybody else meets it ------------------------------------------------

TESTERS_FIRST = {"steps": [{"weight": 0, "bake": "PT0S", "pause": True}, {"weight": 50}], **UNTRIED}


def test_a_tester_finds_the_broken_version_and_nobody_else_ever_met_it(
    stack: Stack, model: str, trained: TrainedModels
) -> None:
    breaks = next(row for row in trained.requests if row[0] >= BAND_WIDTH * BANDS)
    works = next(row for row in trained.requests if row[0] < BAND_WIDTH * BANDS)
    foreseen = stack.api.deployments.dry_run(
        CreateDeployment(model_id=model, version="3.0.0", strategy_config=TESTERS_FIRST)
    )
    assert foreseen.would_be_accepted
    assert [(step.weight, step.pause is not None) for step in foreseen.steps] == [(0, True), (50, False), (100, False)]
    assert "version" in {each.path for each in foreseen.differences}
    with under_load(stack, model, trained) as traffic:
        deployment_id = stack.api.deployments.start(
            CreateDeployment(model_id=model, version="3.0.0", strategy_config=TESTERS_FIRST)
        ).deployment_id
        wait_until(
            lambda: stack.api.deployments.get(deployment_id).status is S.PAUSED, seconds=60, what="the pause at 0"
        )
        good = stack.api.inference.infer(model, works, tester=True)
        assert good.version == "3.0.0"
        with pytest.raises(ApiError) as found:
            stack.api.inference.infer(model, breaks, tester=True)
        assert found.value.code == "INFERENCE_ERROR"
        stack.api.deployments.abort(deployment_id, reason="a tester found it broken")
        last = ended(stack, deployment_id)
        assert stack.api.inference.infer(model, breaks, tester=True).version == "1.0.0", (
            "there is no candidate any more"
        )
    assert (last.status, last.reason, last.analysis) == (S.CANCELLED, "Aborted", [])
    assert {answer.version for answer in traffic.answers} == {"1.0.0"}
    assert all(answer.succeeded for answer in traffic.answers)
    query = f"SELECT DISTINCT version, arm, chosen_by, status FROM inference_requests WHERE model_name = '{model}'"
    with database(stack) as rows:
        wait_until(lambda: len(rows.execute(query).fetchall()) == 3, what="the records of both arms")
        assert set(rows.execute(query).fetchall()) == {
            ("1.0.0", "stable", "weight", "Completed"),
            ("3.0.0", "candidate", "tester", "Completed"),
            ("3.0.0", "candidate", "tester", "Failed"),
        }


# --- a pipeline deploys, waits, and reads JSON and exit code ----------------------------------------------------------


def test_deploy_waits_and_says_how_it_ended(stack: Stack, model: str, trained: TrainedModels) -> None:
    canary = ["--canary-percentage", "30", "--increment-step", "70", "--monitoring-duration", "PT3S"]
    with under_load(stack, model, trained) as traffic:
        deploy = hotswap("deploy", model, "--version", "2.0.0", *canary, "--wait", "--json", data=stack.data)
        promoted = [json.loads(line) for line in deploy.stdout.splitlines()]
        assert promoted[-1]["status"] == "Active"
        assert {0, 30, 100} <= {seen["trafficPercentage"] for seen in promoted}

        tried = stack.api.deployments.get(promoted[-1]["deploymentId"]).backtest
        assert tried is not None
        assert (tried.refusals.hits, tried.failures.hits) == (0, 0)
        assert [timing.at_once for timing in tried.timings] == [1, 8]

        undone = hotswap("rollback", promoted[-1]["deploymentId"], "--wait", data=stack.data)
        assert "Active" in undone.stdout.splitlines()[-1]
    assert stack.api.models.get(model).active_version == "1.0.0"
    parts = hotswap("env", data=stack.data).stdout
    assert all(name in parts for name in ("envoy", "worker", stack.url))
    assert not [each for each in traffic.answers if not each.succeeded]


# --- a candidate that fails half of its requests: it is rolled back for it, and no client saw an error ----------------

Seen = tuple[DeploymentView, list[DemoAnswer]]


@pytest.fixture(scope="module")
def rolled_back(stack: Stack, model: str, trained: TrainedModels) -> Seen:
    """A deployment of the broken version, asked for what it fails and what it can by turns; and all answers."""
    small, large = (
        [row for row in trained.requests if (row[0] >= BAND_WIDTH * BANDS) is is_large] for is_large in (False, True)
    )
    by_turns = list(chain.from_iterable(zip(small, large, strict=False)))
    traffic = DemoTraffic(stack.url, stack.token, model, by_turns, pause=PAUSE_SECONDS)
    traffic.start()
    try:
        canary = ["--version", "3.0.0", "--canary-percentage", "30", "--monitoring-duration", "PT60S", "--wait"]
        canary += ["--config", json.dumps(UNTRIED)]
        identifier, *_, last = hotswap("deploy", model, *canary, expect=3, data=stack.data).stdout.splitlines()
    finally:
        traffic.stop()
    assert "RolledBack" in last
    shown = json.loads(hotswap("get", identifier, "--json", data=stack.data).stdout)
    assert (shown["status"], shown["reason"]) == ("RolledBack", "ErrorRateIncreased")
    return stack.api.deployments.get(identifier), traffic.answers


def test_it_is_rolled_back_for_its_errors_and_no_client_saw_one(rolled_back: Seen) -> None:
    last, answers = rolled_back
    assert (last.status, last.reason) == (S.ROLLED_BACK, "ErrorRateIncreased")
    assert last.validation is not None
    assert last.validation.passed, "nothing but traffic could tell"
    assert not [answer for answer in answers if not answer.succeeded]
    rescued = [answer for answer in answers if answer.fallback_from == "3.0.0"]
    assert {answer.version for answer in rescued} == {"1.0.0"}
    judged = last.analysis[-1].candidate
    assert 0 < judged.errors <= len(rescued)
    asked = [answer for answer in answers if "3.0.0" in {answer.version, answer.fallback_from}]
    first = sorted(asked, key=lambda answer: answer.answered_at)[: judged.requests]
    assert len(first) == judged.requests
    failed = sum(answer.fallback_from is not None for answer in first)
    assert abs(judged.errors - failed) <= CLIENTS, "but for what was on its way, as its clients saw it"


def test_each_request_has_one_answering_record_and_each_failure_its_own_beside_it(
    rolled_back: Seen, stack: Stack, model: str
) -> None:
    _, answers = rolled_back
    ids = [answer.request_id for answer in answers if answer.request_id is not None]
    assert len(ids) == len(answers)
    rescued = {answer.request_id for answer in answers if answer.fallback_from}
    with database(stack) as rows:

        def records() -> list[tuple[Any, ...]]:
            return rows.execute(
                "SELECT request_id, status, version, arm, attempt, fallback_from FROM inference_requests"
                " WHERE request_id = ANY(%s) AND model_name = %s",
                [ids, model],
            ).fetchall()

        wait_until(lambda: len(records()) >= len(ids) + len(rescued), what="a record of each answer and each failure")
        found = records()
    answering = [row for row in found if row[1] == "Completed"]
    failed = [row for row in found if row[1] == "Failed"]
    assert sorted(row[0] for row in answering) == sorted(ids)
    assert {row[0] for row in answering if row[5]} == {row[0] for row in failed} == rescued
    assert {row[2:] for row in answering if row[0] in rescued} == {("1.0.0", "stable", 5, "3.0.0")}
    assert {row[2:] for row in failed} == {("3.0.0", "candidate", 1, None)}
    assert len(failed) == len(rescued)


# --- a person steers: by command, by call and by Temporal's own command line ------------------------------------------

BAKE = {"monitoringDuration": "PT2S", "bakeDeadline": "PT60S", "rollbackThresholds": {"latencyIncrease": 100}}
STEPS = [{"weight": 20, "pause": True}, {"weight": 60, "bake": "PT60S"}]


def test_a_canary_goes_as_people_say(stack: Stack, model: str, trained: TrainedModels) -> None:
    def say(*words: str) -> None:
        hotswap(words[0], deployment_id, *words[1:], data=stack.data)

    def is_now(status: S) -> None:
        wait_until(lambda: stack.api.deployments.get(deployment_id).status is status, seconds=60, what=f"{status}")

    with worker_to_oneself(stack), under_load(stack, model, trained) as traffic:
        deployment_id = stack.api.deployments.start(
            CreateDeployment(model_id=model, version="2.0.0", strategy_config={**BAKE, "steps": STEPS})
        ).deployment_id
        is_now(S.PAUSED)
        seen = stack.api.deployments.get(deployment_id)
        assert (seen.traffic_percentage, seen.current_step) == (20, 1)
        assert "waits for an approval" in (seen.message or "")
        with pytest.raises(ApiError, match="approve or reject the step"):
            stack.api.deployments.promote(deployment_id)
        say("approve", "--step", "1", "--reason", "looks good")
        reaches(stack, deployment_id, 60)
        is_now(S.PROGRESSING)
        by_temporal(stack, model, "pause")
        is_now(S.PAUSED)
        say("resume")
        is_now(S.PROGRESSING)
        wait_until(lambda: stack.api.deployments.get(deployment_id).bake_ends_at is not None, what="the bake")
        say("goto", "3")
        reaches(stack, deployment_id, 100)
        last = ended(stack, deployment_id)
    assert last.status is S.ACTIVE, last.message
    assert not [answer for answer in traffic.answers if not answer.succeeded]


def by_temporal(stack: Stack, model: str, verb: str) -> None:
    command = [str(Path(sys.executable).parent / "temporal"), "workflow", "signal", "--name", verb]
    command += ["--workflow-id", f"deployment/Production/{model}", "--input", '{"by":"ann"}']
    command += ["--address", stack.environment["urls"]["temporal"]]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(30))
