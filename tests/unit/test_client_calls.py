"""The client has every call of the API, and sends a second time only what may be sent twice."""

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from api.app import assemble
from api.description import described_routes
from hotswap.client import ApiError, HotSwap, transport
from tests.fixtures.answers import accepted

NOT_OURS = {
    "POST /api/v1/authentication/token": "the client exchanges a service token by itself",
    "GET /.well-known/jwks.json": "for proxies, which check tokens",
    "GET /health": "for an orchestrator; `readiness` says more",
    "GET /metrics": "for Prometheus",
}
CALLS = [f"{method} {path}" for path, method, _ in described_routes(assemble())]
METHODS = [name for name, _ in inspect.getmembers(HotSwap, inspect.isfunction) if not name.startswith("_")]
NO_CALLS = {"close", "every"}

VALUES: list[tuple[str, Any]] = [
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
MONITORING = {"model": "m", "accuracyDrop": 0.1, "samples": 5, "onDegraded": "alert", "drift": True}
UPLOAD = {
    "uploadId": "x-1",
    "model": "m",
    "artifactPath": "s3://b/k",
    "checksum": "a",
    "sizeBytes": 1,
    "completed": False,
}


def arguments(method: Callable[..., Any], file: Path, *, everything: bool) -> tuple[list[Any], dict[str, Any]]:
    positional, named = [], {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD or not (everything or parameter.default is parameter.empty):
            continue
        annotation = str(parameter.annotation)
        value = file if "Path" in annotation else next((v for name, v in VALUES if name in annotation), None)
        if "Callable" in annotation:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL):
            positional.append(value)
        else:
            named[parameter.name] = value
    return positional, named


@pytest.fixture
def asked(tmp_path: Path) -> set[tuple[str, str]]:
    """Method and path of all that every method asks, once with what it needs and once with all that it takes."""
    file = tmp_path / "archive.tar"
    file.write_bytes(b"x")
    seen: set[tuple[str, str]] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.add((request.method, request.url.path))
        told = UPLOAD if request.url.path.endswith("/uploads") else MONITORING
        return httpx.Response(200, json=told if request.method == "GET" or told is UPLOAD else {})

    with HotSwap("http://hotswap.test", "t", transport=httpx.MockTransport(answer)) as hotswap:
        for name in METHODS:
            for everything in (False, True):
                if name in NO_CALLS:
                    continue
                positional, named = arguments(getattr(HotSwap, name), file, everything=everything)
                try:
                    result = getattr(hotswap, name)(*positional, **named)
                    if inspect.isgenerator(result):
                        next(result)
                except (ValidationError, ApiError):
                    pass  # what is asked is of interest here, not what is answered
    return seen


def test_every_call_of_the_api_has_a_method(asked: set[tuple[str, str]]) -> None:
    def is_asked(call: str) -> bool:
        method, path = call.split(" ")
        form = re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")))
        return any(method == verb and form.fullmatch(there) for verb, there in asked)

    assert [call for call in CALLS if not is_asked(call) and call not in NOT_OURS] == []
    assert NOT_OURS.keys() <= set(CALLS)


def breaking(times: int, failure: type[httpx.TransportError]) -> tuple[HotSwap, list[httpx.Request]]:
    """A client whose connection breaks so often, and what it sent."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) <= times:
            raise failure("broke")
        return httpx.Response(200, json={**accepted(), "accepted": 1})

    return HotSwap("http://hotswap.test", "t", transport=httpx.MockTransport(answer)), sent


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(transport, "LONGEST_WAIT_SECONDS", 0)


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
@pytest.mark.parametrize(
    "call",
    [
        lambda hotswap: hotswap.deploy("fraud"),
        lambda hotswap: hotswap.report_outcome("r-1", "spam"),
        lambda hotswap: hotswap.readiness(),
    ],
)
def test_what_may_be_sent_twice_is_where_the_connection_breaks(
    call: Callable[[HotSwap], Any], failure: type[httpx.TransportError]
) -> None:
    hotswap, sent = breaking(2, failure)
    call(hotswap)
    assert len(sent) == 3
    assert len({request.headers.get("idempotency-key") for request in sent}) == 1
    hotswap, sent = breaking(9, failure)
    with pytest.raises(ApiError, match="UNREACHABLE"):
        call(hotswap)
    assert len(sent) == 3


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        (lambda hotswap: hotswap.infer("fraud", [1]), httpx.ReadError),
        (lambda hotswap: hotswap.create_token("ci", "Viewer"), httpx.ReadError),
        (lambda hotswap: hotswap.change_model("fraud", {"owner": "ann"}), httpx.ReadError),
        (lambda hotswap: hotswap.deploy("fraud"), httpx.ReadTimeout),
        (lambda hotswap: hotswap.models(), httpx.ReadTimeout),
    ],
)
def test_what_may_not_be_sent_twice_is_not_nor_anything_after_a_time_out(
    call: Callable[[HotSwap], Any], failure: type[httpx.TransportError]
) -> None:
    hotswap, sent = breaking(1, failure)
    with pytest.raises(ApiError):
        call(hotswap)
    assert len(sent) == 1


def test_what_changes_something_has_a_key_and_what_heeds_none_has_none() -> None:
    hotswap, sent = breaking(0, httpx.ReadError)
    for call in (hotswap.abort, hotswap.explain, hotswap.revoke_token):
        with pytest.raises(ValidationError):
            call("x-1")
    hotswap.report_outcome("r-1", "spam")
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
        assert [each.freeze_id for each in hotswap.every(hotswap.freezes, environment="Staging")] == [
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
        hotswap.models()
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
