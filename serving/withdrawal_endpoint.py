"""The agent's endpoint for taking a candidate out at this proxy, for the time when nothing else can be reached.

Envoy leads `POST /api/v1/proxy/withdrawals/ENVIRONMENT/MODEL` here, over a socket beside its files, and only for
callers who may steer deployments of that model: it checks the token by itself. So this works while PostgreSQL,
Temporal, Redis, Ray and the API are all away.
"""

import json
import logging
import re
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import msgspec
import uvicorn
from anyio import CancelScope

from hotswap.domain.errors import Conflict, HotSwapError, NotFound, Unavailable, ValidationFailed, nearest
from hotswap.domain.headers import SUBJECT_HEADER
from hotswap.domain.traffic import Withdrawal
from hotswap.domain.vocabulary import Environment
from serving.asgi import ClientGone, Receive, Scope, Send, whole_body
from serving.envoy.gateway import AGENT_SOCKET
from serving.envoy.routes import WITHDRAWALS

MOST_BYTES = 10_000
STATUS = {
    HotSwapError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ValidationFailed: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_PATH = re.compile(rf"{WITHDRAWALS}/(?P<environment>{'|'.join(Environment)})/(?P<model>[^/]+)")

Withdraw = Callable[[Environment, str, str, str], Awaitable[Withdrawal]]
"""Takes the candidate of a model out, by whom and for which reason, and returns when Envoy has done so."""

logger = logging.getLogger(__name__)


class WithdrawalBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request."""

    reason: str


class WithdrawalEndpoint:
    """An ASGI application of one route."""

    def __init__(self, proxy: str, withdraw: Withdraw) -> None:
        self._proxy = proxy
        self._withdraw = withdraw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, told = HTTPStatus.OK, await self._answer(scope, receive)
        except HotSwapError as error:
            status, told = nearest(STATUS, error) or HTTPStatus.INTERNAL_SERVER_ERROR, _body(error)
        except ClientGone:
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    async def _answer(self, scope: Scope, receive: Receive) -> dict[str, object]:
        found = _PATH.fullmatch(scope["path"])
        if found is None or scope["method"] != "POST":
            raise NotFound(f"there is only POST {WITHDRAWALS}/ENVIRONMENT/MODEL")
        body = await whole_body(receive, most=MOST_BYTES)
        try:
            wanted = msgspec.json.decode(body or b"", type=WithdrawalBody)
        except msgspec.MsgspecError as error:
            raise ValidationFailed.of("body", f"is not an object with a reason: {error}") from None
        if not wanted.reason.strip():
            raise ValidationFailed.of("reason", "says nothing")
        by = dict(scope["headers"]).get(SUBJECT_HEADER.encode(), b"unknown").decode(errors="replace")
        done = await self._withdraw(Environment(found["environment"]), found["model"], by, wanted.reason.strip())
        logger.warning(done.message, extra={"environment": done.environment, "model": done.model})
        return {
            "proxy": self._proxy,
            "environment": done.environment,
            "model": done.model,
            "deploymentId": done.deployment_id,
            "version": done.version,
            "by": done.by,
            "reason": done.reason,
        }


def _body(error: HotSwapError) -> dict[str, object]:
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "details": [{"field": each.field, "message": each.message} for each in error.details],
            "traceId": uuid.uuid4().hex,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
    }


class _Server(uvicorn.Server):
    """A server in a process whose signals are not its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: WithdrawalEndpoint, directory: Path) -> None:
    """Serve until cancelled, on a socket that only this user's processes can open: Envoy has checked the callers.

    Where there can be no socket, the agent does all its other work.
    """
    path = directory / AGENT_SOCKET
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen()
        except OSError as error:
            logger.error("no candidate can be taken out at this proxy, since %s can't be opened: %s", path, error)
            return
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        try:
            await server.serve(sockets=[listening])
        finally:
            if server.started:  # a cancel alone would leave the socket with the event loop, under a number of another's
                with CancelScope(shield=True):
                    await server.shutdown(sockets=[listening])
