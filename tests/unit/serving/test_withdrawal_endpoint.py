"""The agent's endpoint on a socket: who may open it, and what becomes of the agent where there can be none."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from hotswap.domain.errors import Conflict, HotSwapError, ModelNotFound, Unavailable
from hotswap.domain.traffic import Fence, Withdrawal
from hotswap.domain.vocabulary import Environment
from serving.envoy.gateway import AGENT_SOCKET
from serving.withdrawal_endpoint import MOST_BYTES, WithdrawalEndpoint, serve
from tests.fixtures.patience import patient, until

DONE = Withdrawal(Environment.PRODUCTION, "fraud", "dep-2", "2.0.0", Fence(1, 1), "ann", "errors", 1.0)
PATH = "/api/v1/proxy/withdrawals/Production/fraud"


def client(failure: HotSwapError | None = None) -> httpx.AsyncClient:
    async def withdraw(environment: Environment, model: str, by: str, reason: str) -> Withdrawal:
        if failure is not None:
            raise failure
        return DONE

    app: Any = WithdrawalEndpoint("envoy-0", withdraw)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", PATH, {"reason": "errors"}, 404, "NOT_FOUND"),
        ("POST", "/api/v1/proxy/withdrawals/Moon/fraud", {"reason": "errors"}, 404, "NOT_FOUND"),
        ("POST", PATH, {}, 400, "VALIDATION_ERROR"),
        ("POST", PATH, {"reason": " "}, 400, "VALIDATION_ERROR"),
        ("POST", PATH, {"reason": "errors", "weight": 1}, 400, "VALIDATION_ERROR"),
        ("POST", PATH, {"reason": "e" * MOST_BYTES}, 400, "VALIDATION_ERROR"),
    ],
)
async def test_what_is_malformed_takes_nothing_out(
    method: str, path: str, body: dict[str, object], status: int, code: str
) -> None:
    async with client() as http:
        answer = await http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("failure", "status"), [(ModelNotFound("none"), 404), (Conflict("none"), 409), (Unavailable("slow"), 503)]
)
async def test_a_failure_is_answered_as_the_api_does(failure: HotSwapError, status: int) -> None:
    async with client(failure) as http:
        answer = await http.post(PATH, json={"reason": "errors"})
    assert answer.status_code == status
    assert answer.json()["error"].items() >= {"code": failure.code, "message": failure.message}.items()


@pytest.mark.slow
async def test_only_this_user_s_processes_can_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / AGENT_SOCKET
    path.write_text("left by an agent that was killed")
    running = asyncio.create_task(serve(WithdrawalEndpoint("envoy-0", _never), tmp_path))
    await until(lambda: path.is_socket(), what="the socket")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://agent") as http:
        assert (await http.get("/")).status_code == 404
    running.cancel()
    await asyncio.wait([running])
    assert await _accepts(), "no number of a socket that is closed is left with the event loop"


async def _accepts() -> bool:
    """Whether servers that get the numbers of sockets which were closed meanwhile take connections."""
    came = asyncio.Event()

    async def serve_one(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.close()

    for _ in range(8):
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
            came.clear()
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            async with asyncio.timeout(patient(10)):
                await came.wait()
            writer.close()
            await writer.wait_closed()
    return True


async def test_without_a_socket_the_agent_does_its_other_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await serve(WithdrawalEndpoint("envoy-0", _never), tmp_path / "not there")
    assert "no candidate can be taken out at this proxy" in caplog.text


async def _never(environment: Environment, model: str, by: str, reason: str) -> Withdrawal:
    raise AssertionError("nobody asked")
