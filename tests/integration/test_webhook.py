"""Webhooks as metrics, over real HTTP: yes, no, and everything that is neither."""

import json
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from hotswap.domain.analysis import JudgeName, Metric, Reading, Source, Subject
from hotswap.domain.errors import Unavailable
from hotswap.metrics_sources.webhook import LONGEST_REASON, WebhookMeter
from hotswap.process.bounded_http import MOST_ANSWER_BYTES
from tests.fixtures.gate import Gate, opened

SUBJECT = Subject("dep-1", "Production", "fraud", "prod-b", "prod-a", "2.0.0", "1.0.0", 1_250, 1_000.0)
METRIC = Metric("fairness", Source.WEBHOOK, JudgeName.THRESHOLD, query="gate")


@pytest.fixture
def gate() -> Iterator[Gate]:
    with opened() as server:
        yield server


async def read(gate: Gate | None) -> Reading:
    port = gate.server_port if gate is not None else 0
    urls = {"gate": SecretStr(f"http://127.0.0.1:{port}/hook?key=a-secret")} if gate is not None else {}
    meter = WebhookMeter(urls, clock=lambda: 1_012.0)
    try:
        return await meter.read(METRIC, SUBJECT)
    finally:
        await meter.aclose()


@pytest.mark.parametrize("passed", [True, False])
async def test_it_is_told_of_the_deployment_and_says_yes_or_no(gate: Gate, passed: bool) -> None:
    gate.answer = (200, json.dumps({"passed": passed, "reason": "r" * 2 * LONGEST_REASON, "more": 1}).encode())
    reading = await read(gate)
    assert (reading.passed, reading.message, reading.at) == (passed, "r" * LONGEST_REASON, 1_012.0)
    ((path, told),) = gate.asked
    assert path == "/hook?key=a-secret"
    assert (told["deploymentId"], told["candidateVersion"], told["weight"], told["metric"]) == (
        *("dep-1", "2.0.0", 12.5),
        "fairness",
    )


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (500, b'{"passed": true}', "webhook gate answers 500"),
        (201, b'{"passed": true}', "webhook gate answers 201"),
        (200, b"yes", "answers 200 without JSON"),
        (200, b"{}", "neither yes nor no"),
        (200, b'{"passed": "true"}', "neither yes nor no"),
        (200, b'{"passed": 1}', "neither yes nor no"),
        (200, b'{"passed": null}', "neither yes nor no"),
        (200, b" " * (MOST_ANSWER_BYTES + 1) + b'{"passed": true}', "answers more than"),
    ],
)
async def test_what_is_neither_yes_nor_no_is_an_error(gate: Gate, status: int, answer: bytes, said: str) -> None:
    gate.answer = (status, answer)
    with pytest.raises(Unavailable, match=said) as error:
        await read(gate)
    assert "a-secret" not in str(error.value)


async def test_a_redirect_is_not_followed(gate: Gate) -> None:
    gate.answer, gate.location = (307, b'{"passed": true}'), "/elsewhere"
    with pytest.raises(Unavailable, match="answers 307"):
        await read(gate)
    assert [path for path, _ in gate.asked] == ["/hook?key=a-secret"]


async def test_a_name_that_the_settings_do_not_have_is_an_error() -> None:
    with pytest.raises(Unavailable, match="no webhook gate is configured"):
        await read(None)
