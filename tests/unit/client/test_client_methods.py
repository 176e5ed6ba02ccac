"""The clients have a method for every call of the API, and both make the same of it."""

import inspect
import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from api.description import described_routes
from hotswap.client import ApiError, AsyncHotSwap, HotSwap
from hotswap.client.resources import Method, StreamMethod
from hotswap.schemas.requests import CreateDeployment, CreateToken, RegisterVersion
from tests.fixtures.described import described_app

NOT_OURS = {
    "POST /api/v1/authentication/token": "the client exchanges a service token by itself",
    "GET /.well-known/jwks.json": "for proxies, which check tokens",
    "GET /health": "for an orchestrator; `readiness` says more",
    "GET /metrics": "for Prometheus",
}
CALLS = [f"{method} {path}" for path, method, _ in described_routes(described_app())]


def resources(client: HotSwap | AsyncHotSwap) -> dict[str, type]:
    return {name: type(value) for name, value in vars(client).items() if not name.startswith("_")}


def answering(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text=f"nobody asks {request.url}")


RESOURCES = resources(HotSwap("http://hotswap.test", transport=httpx.MockTransport(answering)))
METHODS: dict[str, Callable[..., Any]] = {
    f"{resource}.{name}": method.describe
    for resource, kind in RESOURCES.items()
    for name, method in inspect.getmembers(kind, lambda each: isinstance(each, Method | StreamMethod))
}
"""The declaration of each."""

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
    for parameter in list(inspect.signature(METHODS[name]).parameters.values())[1:]:
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
    assert RESOURCES
    assert resources(AsyncHotSwap("http://hotswap.test", transport=httpx.MockTransport(answering))) == RESOURCES


def test_every_call_of_the_api_has_a_method(asked: set[tuple[str, str]]) -> None:
    def is_asked(call: str) -> bool:
        method, path = call.split(" ")
        form = re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")))
        return any(method == verb and form.fullmatch(there) for verb, there in asked)

    assert [call for call in CALLS if not is_asked(call) and call not in NOT_OURS] == []
    assert NOT_OURS.keys() <= set(CALLS)


def test_a_method_shows_its_parameters_and_what_it_is_for() -> None:
    method = HotSwap("http://hotswap.test", transport=httpx.MockTransport(answering)).versions.card
    assert str(inspect.signature(method)) == "(model: str, version: str)"
    assert method.__doc__ == "Return a version's card, which people write."


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is_for(name: str) -> None:
    assert METHODS[name].__doc__
