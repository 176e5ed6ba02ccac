"""The client asks as the API wants to be asked, and tells errors as one kind."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from hotswap.client import ApiError, HotSwap
from hotswap.schemas.requests import CreateDeployment, CreateToken
from tests.fixtures.answers import accepted, deployment, error


def client(answer: Callable[[httpx.Request], httpx.Response]) -> HotSwap:
    return HotSwap("http://hotswap.test/", "a-token", transport=httpx.MockTransport(answer))


def test_a_deployment_is_asked_for_with_token_key_and_only_what_was_said() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json=accepted())

    with client(answer) as hotswap:
        assert (
            hotswap.deployments.start(
                CreateDeployment(model_id="fraud", strategy_config={"canaryPercentage": 5})
            ).deployment_id
            == "dep-1"
        )
        hotswap.deployments.start(CreateDeployment(model_id="fraud"))
    body = json.loads(seen[0].content)
    assert body == {"modelId": "fraud", "strategyConfig": {"canaryPercentage": 5}}
    assert str(seen[0].url) == "http://hotswap.test/api/v1/deployments"
    assert seen[0].headers["authorization"] == "Bearer a-token"
    assert seen[0].headers["idempotency-key"] != seen[1].headers["idempotency-key"]


def test_names_in_paths_cannot_leave_their_place() -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(404, json=error("MODEL_NOT_FOUND", "no"))

    with client(answer) as hotswap, pytest.raises(ApiError):
        hotswap.versions.get("../../internal/x?y", "1.0.0+a b")
    assert paths == [b"/api/v1/models/..%2F..%2Finternal%2Fx%3Fy/versions/1.0.0%2Ba%20b"]


def test_inference_is_routed_by_headers() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["x-hotswap-environment"] == "Staging"
        assert request.headers["x-entity-id"] == "user-7"
        assert request.headers["x-hotswap-tester"] == "true"
        assert "x-hotswap-version" not in request.headers
        return httpx.Response(
            200, json={"requestId": "r", "modelName": "fraud", "version": "1.0.0", "prediction": [1], "confidence": 0.9}
        )

    with client(answer) as hotswap:
        assert hotswap.inference.infer(
            "fraud", [1.0], environment="Staging", entity="user-7", tester=True
        ).prediction == [1]


def test_outcomes_are_reported_a_thousand_at_a_time() -> None:
    sizes = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/inference/outcomes"
        sizes.append(len(said := json.loads(request.content)["outcomes"]))
        assert said[0].keys() == {"requestId", "outcome"}
        return httpx.Response(202, json={"accepted": len(said)})

    with client(answer) as hotswap:
        assert hotswap.inference.report_outcomes({}).accepted == 0
        assert (
            hotswap.inference.report_outcomes({f"r-{number}": number % 2 for number in range(2_001)}).accepted == 2_001
        )
    assert sizes == [1_000, 1_000, 1]


def test_a_late_outcome_says_when_it_was_observed() -> None:
    seen: list[tuple[bytes, dict[str, Any]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.raw_path, json.loads(request.content)))
        return httpx.Response(202, json={"accepted": 1})

    with client(answer) as hotswap:
        hotswap.inference.report_outcome("a/b", "spam")
        hotswap.inference.report_outcome("r", -1.5, observed_at=datetime(2026, 12, 27, tzinfo=UTC))
    assert seen == [
        (b"/api/v1/inference/a%2Fb/outcome", {"outcome": "spam"}),
        (b"/api/v1/inference/r/outcome", {"outcome": -1.5, "observedAt": "2026-12-27T00:00:00Z"}),
    ]


def test_follow_yields_each_change_until_the_end() -> None:
    states = [deployment("Progressing", 10.0), deployment("Progressing", 10.0), deployment("Active", 100.0)]

    with client(lambda _: httpx.Response(200, json=states.pop(0))) as hotswap:
        seen = [(each.status, each.traffic_percentage) for each in hotswap.deployments.follow("dep-1", interval=0)]
    assert seen == [("Progressing", 10.0), ("Active", 100.0)]


def test_a_failed_registration_is_raised_with_its_own_error() -> None:
    state = {
        "model": "fraud",
        "version": "1.0.0",
        "status": "Failed",
        "workflowId": "w",
        "code": "VALIDATION_ERROR",
        "message": "artifactPath: not there",
        "details": [{"field": "artifactPath", "message": "not there"}],
    }
    with client(lambda _: httpx.Response(200, json=state)) as hotswap, pytest.raises(ApiError) as raised:
        hotswap.versions.await_registration("fraud", "1.0.0")
    assert (raised.value.code, raised.value.details[0].field) == ("VALIDATION_ERROR", "artifactPath")


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (httpx.Response(409, json=error("CONFLICT", "it runs")), "CONFLICT", 409),
        (httpx.Response(502, text="<html>bad gateway"), "UNEXPECTED_ANSWER", 502),
        (httpx.Response(500, json=["what"]), "UNEXPECTED_ANSWER", 500),
    ],
)
def test_every_refusal_is_an_api_error(answer: httpx.Response, code: str, status: int) -> None:
    with client(lambda _: answer) as hotswap, pytest.raises(ApiError) as raised:
        hotswap.models.list()
    assert (raised.value.code, raised.value.status) == (code, status)


@pytest.mark.parametrize(("failure", "code"), [(httpx.ConnectError, "UNREACHABLE"), (httpx.ReadTimeout, "TIMEOUT")])
def test_no_answer_at_all_is_an_api_error_too(failure: type[httpx.HTTPError], code: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise failure("no")

    with client(answer) as hotswap, pytest.raises(ApiError) as raised:
        hotswap.models.get("fraud")
    assert (raised.value.code, raised.value.status) == (code, 0)


def test_a_newer_servers_unknown_fields_are_ignored() -> None:
    future: dict[str, Any] = {**deployment("Active", 100.0), "color": "green"}
    with client(lambda _: httpx.Response(200, json=future)) as hotswap:
        assert hotswap.deployments.get("dep-1").model == "fraud"


def test_why_is_said_with_every_call_on_one_line() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(dict(request.headers.raw).get(b"X-HotSwap-Reason", b""))
        return httpx.Response(202, json=accepted())

    for reason in ("CHG-1:\nspäte Etiketten", None):
        transport = httpx.MockTransport(answer)
        with HotSwap("http://hotswap.test", "a-token", reason=reason, transport=transport) as hotswap:
            hotswap.deployments.start(CreateDeployment(model_id="fraud"))
    assert seen == ["CHG-1: späte Etiketten".encode(), b""]


@pytest.mark.parametrize(
    "ask",
    [
        lambda hotswap: hotswap.authentication.login("ann", "p"),
        lambda hotswap: hotswap.tokens.create(CreateToken(name="ci", roles=["Viewer"])),
        lambda hotswap: hotswap.tokens.rotate("ci"),
    ],
)
def test_an_answer_with_a_secret_that_cannot_be_read_is_told_without_it(ask: Callable[[HotSwap], Any]) -> None:
    told = httpx.Response(200, json={"accessToken": "a-secret", "token": "a-secret"})
    with client(lambda _: told) as hotswap, pytest.raises(ApiError, match="UNEXPECTED_ANSWER") as raised:
        ask(hotswap)
    assert "a-secret" not in raised.value.message
