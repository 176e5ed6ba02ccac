"""A candidate that fails half of its requests: it is rolled back for it, and no client saw an error."""

from collections.abc import Callable
from itertools import chain

import psycopg
import pytest

from hotswap.cli.demo.models import BAND_WIDTH, BANDS, TrainedModels
from hotswap.cli.demo.traffic import CLIENTS, Answer, Traffic
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.views import DeploymentView
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack
from tests.fixtures.work import PAUSE_SECONDS, ended

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

Seen = tuple[DeploymentView, list[Answer]]

CANARY = {"canaryPercentage": 30, "monitoringDuration": "PT60S"}


@pytest.fixture(scope="module")
def rolled_back(stack: Stack, register: Callable[[str, str], None], trained: TrainedModels) -> Seen:
    """A deployment of the broken version, asked for what it fails and what it can by turns; and all answers."""
    for version in ("1.0.0", "3.0.0"):
        register("rescued", version)
    first = ended(stack, stack.api.deploy("rescued", version="1.0.0").deployment_id)
    assert first.status is S.ACTIVE, first.message
    small, large = (
        [row for row in trained.requests if (row[0] >= BAND_WIDTH * BANDS) is is_large] for is_large in (False, True)
    )
    by_turns = list(chain.from_iterable(zip(small, large, strict=False)))
    traffic = Traffic(stack.url, stack.token, "rescued", by_turns, pause=PAUSE_SECONDS)
    traffic.start()
    try:
        last = ended(stack, stack.api.deploy("rescued", version="3.0.0", config=CANARY).deployment_id)
    finally:
        traffic.stop()
    return last, traffic.answers


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
    rolled_back: Seen, stack: Stack
) -> None:
    _, answers = rolled_back
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    ids = [answer.request_id for answer in answers]
    rescued = {answer.request_id for answer in answers if answer.fallback_from}
    with psycopg.connect(url, autocommit=True) as database:

        def records() -> list[tuple[str, ...]]:
            return database.execute(
                "SELECT request_id, status, version, arm, attempt, fallback_from FROM inference_requests"
                " WHERE request_id = ANY(%s) AND model_name = 'rescued'",
                [ids],
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
