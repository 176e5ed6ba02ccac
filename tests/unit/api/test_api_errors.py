"""Every error of the domain has its status, and every answer has the one format."""

import ast
import re

import httpx
import pytest
from fastapi import APIRouter

import serving.engine
from api import idempotency
from api.errors import answer_domain, status_of
from hotswap.domain import errors
from hotswap.domain.errors import BY_CODE, FieldProblem, HotSwapError
from hotswap.domain.vocabulary import Role
from hotswap.settings import Settings
from tests.fixtures.api import app_of
from tests.fixtures.api_settings import bearer
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources


def below(kind: type[HotSwapError]) -> list[type[HotSwapError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in below(child))]


# Classes that other tests define are not the product's.
EVERY_ERROR = [kind for kind in below(HotSwapError) if kind.__module__ == errors.__name__]


def drawn() -> dict[str, str | None]:
    """Each class of the tree that is drawn in the module's docstring, with the class above it."""
    above: dict[str, str | None] = {HotSwapError.__name__: None}
    path = [HotSwapError.__name__]
    for line in (errors.__doc__ or "").splitlines():
        if (found := re.match(r"    ([│ ]*)[├└]── (\w+)", line)) is not None:
            depth = len(found[1]) // 4 + 1
            above[found[2]] = path[depth - 1]
            path[depth:] = [found[2]]
    return above


def test_the_tree_that_is_drawn_is_the_tree_of_the_classes() -> None:
    assert drawn() == {
        kind.__name__: kind.__mro__[1].__name__ if kind is not HotSwapError else None for kind in EVERY_ERROR
    }


@pytest.mark.slow
def test_no_error_of_the_domain_is_defined_elsewhere() -> None:
    """It would be in no table, and Temporal would bring it back as another."""
    names = {kind.__name__ for kind in EVERY_ERROR}
    elsewhere = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources(*PRODUCT)
        if path.samefile(errors.__file__) is False
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and names & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    ]
    assert elsewhere == []


def test_every_error_has_a_code_of_its_own() -> None:
    assert {kind.code: kind for kind in EVERY_ERROR} == BY_CODE
    assert len(BY_CODE) == len(EVERY_ERROR), "two errors have the same code"


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_a_class_below_an_error_is_answered_as_that_error_is(kind: type[HotSwapError]) -> None:
    """By the API, by a replica, and where a repeated request is judged: no handler fails on a new class."""
    closer = type("Closer", (kind,), {})("what happened")
    known = kind("what happened")
    assert status_of(closer) == status_of(known)
    assert serving.engine.status_of(closer) == serving.engine.status_of(known)
    assert idempotency._is_refusal(closer) == idempotency._is_refusal(known) == (status_of(known) < 500)
    told, expected = answer_domain(closer, trace_id="t-1"), answer_domain(known, trace_id="t-1")
    assert told.status_code == expected.status_code == status_of(known)
    assert told.headers.get("retry-after") == expected.headers.get("retry-after")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.ValidationFailed, 400),
        (errors.SchemaValidationFailed, 400),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.ModelNotFound, 404),
        (errors.Conflict, 409),
        (errors.InsufficientCapacity, 409),
        (errors.MethodNotAllowed, 405),
        (errors.ChangedMeanwhile, 412),
        (errors.RateLimited, 429),
        (errors.Unavailable, 503),
        (errors.AnswerLost, 503),
        (errors.InferenceFailed, 500),
        (errors.ReplicasFailed, 500),
        (errors.HotSwapError, 500),
    ],
)
def test_an_error_is_told_in_the_format(kind: type[HotSwapError], status: int) -> None:
    import json

    answer = answer_domain(kind("what happened", FieldProblem("name", "why")), trace_id="t-1")
    told = json.loads(bytes(answer.body))["error"]
    assert answer.status_code == status
    assert {key: told[key] for key in ("code", "message", "details", "traceId")} == {
        "code": kind.code,
        "message": "what happened",
        "details": [{"field": "name", "message": "why"}],
        "traceId": "t-1",
    }
    assert told["timestamp"].endswith("+00:00")
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1/models/", 404, "NOT_FOUND"),
        ("DELETE", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/swagger/index.html", 400, "VALIDATION_ERROR"),
    ],
)
async def test_the_frameworks_own_errors_have_the_format_too(
    api: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await api.request(method, path, headers={"x-request-id": "abc"})
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["traceId"]) == (status, code, "abc")
    assert answer.headers["x-request-id"] == "abc"


async def test_a_bug_is_answered_without_a_word_of_it(api: httpx.AsyncClient) -> None:
    router = APIRouter()

    @router.get("/bug")
    async def bug() -> None:
        raise KeyError("postgresql://user:secret@host")

    app_of(api).include_router(router)
    answer = await api.get("/bug")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["error"]["traceId"]


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k-1"}], ids=["without a key", "with a key"])
async def test_a_database_that_is_away_is_told_without_its_address(
    api: httpx.AsyncClient, settings: Settings, headers: dict[str, str]
) -> None:
    freeze = {"environment": "Production", "duration": "PT1H", "reason": "a holiday"}
    answers = [
        await api.get("/api/v1/models", headers=bearer(settings, Role.VIEWER)),
        await api.post("/api/v1/freezes", json=freeze, headers=headers | bearer(settings, Role.ADMIN)),
    ]
    for answer in answers:
        told = answer.json()["error"]
        assert (answer.status_code, told["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert told["message"] == (
            "the database doesn't answer; inference goes on without it, so try again in a moment"
        )
        assert answer.headers["retry-after"] == "5"
