"""What the edge does to any request: trace id, size, content type."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.edge import MAX_BODY_BYTES
from hotswap.domain.vocabulary import Role
from hotswap.settings import Settings
from tests.fixtures.api import app_of
from tests.fixtures.api_settings import bearer


@pytest.mark.parametrize("given", ["", "a" * 129, "two words", "<script>", "evil\tid"])
async def test_an_indecent_trace_id_is_replaced(api: httpx.AsyncClient, given: str) -> None:
    answer = await api.get("/health", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 36


async def test_the_trace_that_a_caller_is_in_is_named_and_his_own_id_given_back(api: httpx.AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "x-request-id": "mine"}
    answer = await api.get("/api/v1/models", headers=headers)
    assert (answer.json()["error"]["traceId"], answer.headers["x-request-id"]) == (trace, "mine")
    for wrong in ("00-xyz-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 9_000):
        answer = await api.get("/api/v1/models", headers=headers | {"traceparent": wrong})
        assert answer.json()["error"]["traceId"] == "mine"


async def test_a_body_that_says_it_is_too_large_is_not_read(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/v1/models", content=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "VALIDATION_ERROR")


async def test_a_body_that_does_not_say_is_cut_off(api: httpx.AsyncClient, settings: Settings) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"[" * 65536

    answer = await api.post("/api/v1/models", content=endless(), headers=bearer(settings, Role.ADMIN))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "VALIDATION_ERROR")


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": NaN, ', b"\xff\xfe", b"1" * 10_000, b'"x"', b"[]"])
async def test_what_is_no_json_object_is_400(api: httpx.AsyncClient, settings: Settings, body: bytes) -> None:
    answer = await api.post("/api/v1/models", content=body, headers=bearer(settings, Role.ADMIN))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_liveness_asks_nobody_and_a_missing_database_is_503(api: httpx.AsyncClient, settings: Settings) -> None:
    assert (await api.get("/health")).json() == {"status": "alive"}
    answer = await api.get("/api/v1/models", headers=bearer(settings, Role.VIEWER))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "127.0.0.1" not in answer.text


async def test_readiness_says_which_server_is_missing_but_not_where(api: httpx.AsyncClient) -> None:
    from dataclasses import replace

    async def there() -> None: ...

    async def gone() -> None:
        raise ConnectionRefusedError("connect to 10.1.2.3 as hotswap:secret")

    app = app_of(api)
    app.state.parts = replace(app.state.parts, probes={"redis": there, "postgresql": gone})
    answer = await api.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "checks": {
            "redis": {"ok": True},
            "postgresql": {"ok": False, "why": "does not answer as it should (ConnectionRefusedError)"},
        },
    }
