"""The client has every call of the API, and sends a second time only what may be sent twice."""

import inspect
import json
import operator
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from api.app import assemble
from api.description import described_routes
from hotswap.client import ApiError, AsyncHotSwap, HotSwap, transport
from hotswap.client.resources import Method, StreamMethod
from hotswap.schemas.requests import CreateDeployment, CreateToken, RegisterVersion
from tests.fixtures.answers import accepted, deployment

NOT_OURS = {
    "POST /api/v1/authentication/token": "the client exchanges a service token by itself",
    "GET /.well-known/jwks.json": "for proxies, which check tokens",
    "GET /health": "for an orchestrator; `readiness` says more",
    "GET /metrics": "for Prometheus",
}
CALLS = [f"{method} {path}" for path, method, _ in described_routes(assemble())]
RESOURCES = sorted(name for name in vars(HotSwap("http://hotswap.test")) if not name.startswith("_"))
METHODS = [
    f"{resource}.{name}"
    for resource in RESOURCES
    for name, _ in inspect.getmembers(
        type(getattr(HotSwap("http://hotswap.test"), resource)), lambda each: isinstance(each, Method | StreamMethod)
    )
]

NAMED: dict[str, Any] = {
    "models.change.changes": {"type": "Other"},
    "monitoring.change.changes": {"samples": 60},
    "environment": "Staging",
    "checks": ["latency"],
    "sha256": "ab" * 32,
    "upload_id": "upl-1",
}
"""By a parameter's name, or by its method's and its own."""
NEEDED, EXCLUDED = {("freezes.create", "until")}, {("freezes.create", "duration")}
"""Of two parameters one is needed."""
VALUES: list[tuple[str, Any]] = [
    ("CreateDeployment", CreateDeployment(model_id="x-1")),
    ("CreateToken", CreateToken(name="x-1", roles=["Viewer"])),
    ("RegisterVersion", RegisterVersion(name="x-1", version="1.0.0", framework="ONNX", artifact_path="s3://abc/k")),
    ("timedelta", timedelta(minutes=1)),
    ("datetime", datetime(2030, 1, 1, tzinfo=UTC)),
    ("Mapping", {"a": 1}),
    ("Sequence", [1]),
    ("bool", True),
    ("int", 1),
    ("float", 1.0),
    ("str", "x-1"),
]
"""By what stands in an annotation, the first that does."""
MONITORING = {"model": "m", "accuracyDrop": 0.1, "samples": 50, "onDegraded": "alert", "drift": True}
UPLOAD = {
    "uploadId": "x-1",
    "model": "m",
    "artifactPath": "s3://b/k",
    "checksum": "a",
    "sizeBytes": 1,
    "completed": False,
}


def arguments(name: str, file: Path, *, everything: bool) -> tuple[list[Any], dict[str, Any]]:
    """Values for a method's parameters: those that it needs, or all."""
    positional, named = [], {}
    for parameter in list(inspect.signature(described(name)).parameters.values())[1:]:
        if not (everything or parameter.default is parameter.empty or (name, parameter.name) in NEEDED):
            continue
        annotation = str(parameter.annotation)
        if "Callable" in annotation or (name, parameter.name) in EXCLUDED:
            continue
        at = f"{name}.{parameter.name}"
        value = (
            NAMED.get(at) or NAMED.get(parameter.name) or next((v for kind, v in VALUES if kind in annotation), None)
        )
        value = file if "Path" in annotation else value
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(value)
        else:
            named[parameter.name] = value
    return positional, named


def described(name: str) -> Callable[..., Any]:
    """The declaration of a method."""
    resource, _, method = name.partition(".")
    declared: Callable[..., Any] = getattr(type(getattr(HotSwap("http://hotswap.test"), resource)), method).describe
    return declared


class Asked:
    """What was sent, without what is drawn by lot."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes, list[str]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.method, str(request.url), request.content, sorted(request.headers)))
        told = UPLOAD if request.url.path.endswith("/uploads") else MONITORING
        return httpx.Response(200, json=told if request.method == "GET" or told is UPLOAD else {})


def by_one(name: str, /, *arguments: Any, **named: Any) -> tuple[Asked, Any]:
    """What the synchronous client asks, and what comes of it."""
    asked = Asked()
    with HotSwap("http://hotswap.test", "t", reason="r", transport=httpx.MockTransport(asked)) as hotswap:
        try:
            result = operator.attrgetter(name)(hotswap)(*arguments, **named)
            return asked, next(result) if inspect.isgenerator(result) else result
        except (ValidationError, ApiError) as error:
            return asked, (type(error), str(error))


async def by_other(name: str, /, *arguments: Any, **named: Any) -> tuple[Asked, Any]:
    """The same of the asynchronous one."""
    asked = Asked()
    transport = httpx.MockTransport(asked)
    async with AsyncHotSwap("http://hotswap.test", "t", reason="r", transport=transport) as hotswap:
        try:
            result = operator.attrgetter(name)(hotswap)(*arguments, **named)
            return asked, await (anext(result) if inspect.isasyncgen(result) else result)
        except (ValidationError, ApiError) as error:
            return asked, (type(error), str(error))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "archive.tar"
    file.write_bytes(b"x")
    return file


@pytest.fixture
def asked(archive: Path) -> set[tuple[str, str]]:
    """Method and path of all that every method asks, once with what it needs and once with all that it takes."""
    seen: set[tuple[str, str]] = set()
    for name in METHODS:
        for everything in (False, True):
            positional, named = arguments(name, archive, everything=everything)
            sent = by_one(name, *positional, **named)[0].requests
            assert sent, f"{name} asks nothing"
            seen |= {(method, httpx.URL(url).path) for method, url, _, _ in sent}
    return seen


@pytest.mark.slow  # some 150 cases, each with two clients
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", METHODS)
async def test_both_clients_ask_the_same_and_make_the_same_of_the_answer(
    name: str, archive: Path, *, everything: bool
) -> None:
    positional, named = arguments(name, archive, everything=everything)
    one, result = by_one(name, *positional, **named)
    other, its_result = await by_other(name, *positional, **named)
    assert [(method, url, body) for method, url, body, _ in other.requests] == [
        (method, url, body) for method, url, body, _ in one.requests
    ]
    assert [headers for *_, headers in other.requests] == [headers for *_, headers in one.requests]
    assert its_result == result


def test_both_clients_have_the_same_resources() -> None:
    resources = {name: type(value) for name, value in vars(HotSwap("http://hotswap.test")).items() if name[0] != "_"}
    others = vars(AsyncHotSwap("http://hotswap.test"))
    assert {name: type(value) for name, value in others.items() if name[0] != "_"} == resources
    assert set(resources) == set(RESOURCES)


def test_every_call_of_the_api_has_a_method(asked: set[tuple[str, str]]) -> None:
    def is_asked(call: str) -> bool:
        method, path = call.split(" ")
        form = re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")))
        return any(method == verb and form.fullmatch(there) for verb, there in asked)

    assert [call for call in CALLS if not is_asked(call) and call not in NOT_OURS] == []
    assert NOT_OURS.keys() <= set(CALLS)


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


def test_a_method_shows_its_parameters_and_what_it_is_for() -> None:
    method = HotSwap("http://hotswap.test").versions.card
    assert str(inspect.signature(method)) == "(model: str, version: str)"
    assert method.__doc__ == "What people write of a version."


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is_for(name: str) -> None:
    assert described(name).__doc__


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
