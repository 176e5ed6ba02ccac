"""Every error of the domain has its status, and every answer has the one format."""

import httpx
import pytest
from fastapi import APIRouter

from api.errors import STATUS, answer_domain
from hotswap.domain import errors
from hotswap.domain.errors import BY_CODE, FieldProblem, HotSwapError


def every_error() -> list[type[HotSwapError]]:
    found: list[type[HotSwapError]] = [HotSwapError]
    for kind in found:
        found.extend(kind.__subclasses__())
    # A replica has an error of its own (`serving.inference`), which is there only where that module is imported.
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_the_table_covers_every_domain_error_and_nothing_else() -> None:
    assert set(STATUS) == set(every_error())
    assert len(BY_CODE) == len(STATUS), "two errors have the same code"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.ValidationFailed, 400),
        (errors.SchemaValidationFailed, 400),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.ModelNotFound, 404),
        (errors.Conflict, 409),
        (errors.Unavailable, 503),
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

    api._transport.app.include_router(router)  # type: ignore[attr-defined]
    answer = await api.get("/bug")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["error"]["traceId"]
