"""The clients send a second time only what may be sent twice, and tell whatever else comes as one kind of error."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hotswap.client import ApiError, AsyncHotSwap, HotSwap, transport
from hotswap.schemas.requests import CreateDeployment, CreateToken
from tests.fixtures.answers import accepted, deployment


def breaking(times: int, failure: type[httpx.TransportError]) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A connection that breaks so often, and what was sent by it."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) <= times:
            raise failure("broke")
        return httpx.Response(200, json={**accepted(), "accepted": 1})

    return httpx.MockTransport(answer), sent


Ask = Callable[[Any], Any]


async def ask_by_one(call: Ask, connection: httpx.MockTransport) -> Any:
    with HotSwap("http://hotswap.test", "t", transport=connection) as hotswap:
        return call(hotswap)


async def ask_by_other(call: Ask, connection: httpx.MockTransport) -> Any:
    async with AsyncHotSwap("http://hotswap.test", "t", transport=connection) as hotswap:
        return await call(hotswap)


of_both = pytest.mark.parametrize("ask", [ask_by_one, ask_by_other])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(transport, "LONGEST_WAIT_SECONDS", 0)


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
@pytest.mark.parametrize(
    "call",
    [
        lambda hotswap: hotswap.deployments.start(CreateDeployment(model_id="fraud")),
        lambda hotswap: hotswap.inference.report_outcome("r-1", "spam"),
        lambda hotswap: hotswap.health.ready(),
    ],
)
@of_both
async def test_what_may_be_sent_twice_is_where_the_connection_breaks(
    ask: Callable[[Ask, httpx.MockTransport], Awaitable[Any]], call: Ask, failure: type[httpx.TransportError]
) -> None:
    connection, sent = breaking(2, failure)
    await ask(call, connection)
    assert len(sent) == 3
    assert len({request.headers.get("idempotency-key") for request in sent}) == 1
    connection, sent = breaking(9, failure)
    with pytest.raises(ApiError, match="UNREACHABLE"):
        await ask(call, connection)
    assert len(sent) == 3


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        (lambda hotswap: hotswap.inference.infer("fraud", [1]), httpx.ReadError),
        (lambda hotswap: hotswap.tokens.create(CreateToken(name="ci", roles=["Viewer"])), httpx.ReadError),
        (lambda hotswap: hotswap.models.change("fraud", {"owner": "ann"}), httpx.ReadError),
        (lambda hotswap: hotswap.deployments.start(CreateDeployment(model_id="fraud")), httpx.ReadTimeout),
        (lambda hotswap: hotswap.models.list(), httpx.ReadTimeout),
    ],
)
@of_both
async def test_what_may_not_be_sent_twice_is_not_nor_anything_after_a_time_out(
    ask: Callable[[Ask, httpx.MockTransport], Awaitable[Any]], call: Ask, failure: type[httpx.TransportError]
) -> None:
    connection, sent = breaking(1, failure)
    with pytest.raises(ApiError):
        await ask(call, connection)
    assert len(sent) == 1


def test_what_changes_something_has_a_key_and_what_heeds_none_has_none() -> None:
    connection, sent = breaking(0, httpx.ReadError)
    hotswap = HotSwap("http://hotswap.test", "t", transport=connection)
    for call in (hotswap.deployments.abort, hotswap.deployments.explain, hotswap.tokens.revoke):
        with pytest.raises(ApiError, match="UNEXPECTED_ANSWER"):
            call("x-1")
    hotswap.inference.report_outcome("r-1", "spam")
    assert [bool(request.headers.get("idempotency-key")) for request in sent] == [True, False, False, False]


def test_every_page_of_a_list_is_gone_through() -> None:
    pages: Mapping[str | None, Sequence[str]] = {None: ["frz-1", "frz-2"], "c1": ["frz-3"]}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["environment"] == "Staging"
        cursor = request.url.params.get("cursor")
        freeze = {"environment": "Staging", "reason": "r", "createdBy": "a", "isInForce": True}
        times = {"startsAt": "2030-01-01T00:00:00Z", "until": "2030-01-02T00:00:00Z"}
        items = [{**freeze, **times, "freezeId": each} for each in pages[cursor]]
        next_page = {"next": "c1"} if cursor is None else {}
        return httpx.Response(200, json={"items": items, "total": 3, "limit": 200, "offset": 0, **next_page})

    with HotSwap("http://hotswap.test", transport=httpx.MockTransport(answer)) as hotswap:
        assert [each.freeze_id for each in hotswap.every(hotswap.freezes.list, environment="Staging")] == [
            "frz-1", "frz-2", "frz-3"
        ]  # fmt: skip


def test_a_refusal_says_when_to_come_again() -> None:
    told = {"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "too often", "details": [], "traceId": "t"}}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "17"}, content=json.dumps(told))

    with (
        HotSwap("http://hotswap.test", transport=httpx.MockTransport(answer)) as hotswap,
        pytest.raises(ApiError) as at,
    ):
        hotswap.models.list()
    assert (at.value.retry_after, at.value.code, at.value.trace_id) == (17, "RATE_LIMIT_EXCEEDED", "t")


def test_address_and_token_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    url = {"HOTSWAP_URL": "http://hotswap.test"}
    by_file = {**url, "HOTSWAP_TOKEN_FILE": str(tmp_path / "token")}
    assert transport_token(HotSwap.from_environment(by_file)) == "Bearer from-a-file"
    assert transport_token(HotSwap.from_environment({**by_file, "HOTSWAP_TOKEN": "itself"})) == "Bearer itself"
    assert transport_token(HotSwap.from_environment(url)) is None
    with pytest.raises(ValueError, match="HOTSWAP_URL is not set"):
        HotSwap.from_environment({})
    with pytest.raises(ValueError, match="HOTSWAP_TOKEN_FILE: can't read /nowhere"):
        HotSwap.from_environment({**url, "HOTSWAP_TOKEN_FILE": "/nowhere"})


def transport_token(hotswap: HotSwap) -> str | None:
    http = hotswap._transport._http
    request = http.build_request("GET", "/")
    if http.auth is None:
        return None
    return next(http.auth.sync_auth_flow(request)).headers["authorization"]


async def test_the_asynchronous_client_goes_through_pages_and_follows() -> None:
    states = [deployment("Progressing", 10.0), deployment("Progressing", 10.0), deployment("Active", 100.0)]
    listed = {"items": [deployment("Active", 100.0)], "total": 2, "limit": 200, "offset": 0}
    pages = {None: {**listed, "next": "c1"}, "c1": listed}

    def answer(request: httpx.Request) -> httpx.Response:
        is_list = request.url.path.endswith("/deployments")
        return httpx.Response(200, json=pages[request.url.params.get("cursor")] if is_list else states.pop(0))

    async with AsyncHotSwap("http://hotswap.test", transport=httpx.MockTransport(answer)) as hotswap:
        seen = [each.status async for each in hotswap.deployments.follow("dep-1", interval=0)]
        everything = [each.model async for each in hotswap.every(hotswap.deployments.list, model="fraud")]
    assert (seen, everything) == (["Progressing", "Active"], ["fraud", "fraud"])


def test_what_the_api_would_refuse_is_refused_before_it_is_sent() -> None:
    connection, sent = breaking(0, httpx.ReadError)
    hotswap = HotSwap("http://hotswap.test", transport=connection)
    with pytest.raises(ApiError) as at:
        hotswap.freezes.create("Nowhere", reason="", duration=timedelta(days=1))
    assert (at.value.code, at.value.status, sent) == ("VALIDATION_ERROR", 0, [])
    assert [problem.field for problem in at.value.details] == ["environment", "reason"]


async def test_the_asynchronous_client_exchanges_a_service_token_too() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, request.headers["authorization"]))
        if request.url.path.endswith("/authentication/token"):
            return httpx.Response(200, json={"access_token": "short", "expires_in": 600})
        return httpx.Response(200, json=deployment("Active", 100.0))

    async with AsyncHotSwap("http://hotswap.test", "hst_long", transport=httpx.MockTransport(answer)) as hotswap:
        for _ in range(2):
            await hotswap.deployments.get("dep-1")
    asked = ("/api/v1/deployments/dep-1", "Bearer short")
    assert seen == [("/api/v1/authentication/token", "Bearer hst_long"), asked, asked]


def test_what_several_calls_would_be_refused_for_is_the_same_error(tmp_path: Path) -> None:
    """A file's name with a space, and a number that JSON doesn't have: found after the call has begun."""
    file = tmp_path / "a model.tar"
    file.write_bytes(b"content")
    with HotSwap("http://hotswap.test", transport=httpx.MockTransport(lambda _: httpx.Response(500))) as hotswap:
        with pytest.raises(ApiError) as refused:
            hotswap.artifacts.push(file, "fraud")
        assert (refused.value.code, refused.value.status) == ("VALIDATION_ERROR", 0)
        with pytest.raises(ApiError) as refused:
            hotswap.inference.report_outcomes({"r-1": float("nan")})
        assert (refused.value.code, refused.value.status) == ("VALIDATION_ERROR", 0)


def test_an_answer_that_cannot_be_read_is_no_refusal() -> None:
    answer = httpx.Response(200, json={"deploymentId": 7})
    with HotSwap("http://hotswap.test", transport=httpx.MockTransport(lambda _: answer)) as hotswap:
        with pytest.raises(ApiError) as told:
            hotswap.deployments.get("dep-1")
        assert (told.value.code, told.value.status) == ("UNEXPECTED_ANSWER", 200)
