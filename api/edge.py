"""What every request meets first and every answer passes last: trace id, size limit, content type, the last net.

Protects three rules: each answer names its trace id (of the caller's W3C `traceparent`, else his `x-request-id` if it
is a decent one), and what is logged and audited meanwhile names it too; nobody can make the API hold more than a small
body in memory; and no exception gets out as anything but the error format. JSON is read whatever content type was sent,
as curl's `-d` does; that is safe since no route takes a cookie, so no other site's form can act for a user. Who may
call what is left to `api.auth`.
"""

import logging
import re
import uuid

from opentelemetry.trace import format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer, answer_internal
from hotswap import telemetry
from hotswap.domain.errors import ValidationFailed

MAX_BODY_BYTES = 1024 * 1024
"""A registration's metadata is the largest body there is; inference never comes here."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACE_CONTEXT = TraceContextTextMapPropagator()

logger = logging.getLogger(__name__)


class Edge:
    """Pure ASGI; outermost of all."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        trace_id = _traced(scope) or request_id
        scope.setdefault("state", {})["trace_id"] = trace_id
        telemetry.trace_id.set(trace_id)
        _read_as_json(scope)
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if _declared_length(scope) > self._max_body_bytes:
            await self._too_large(trace_id)(scope, receive, send_marked)
            return
        try:
            await self._app(scope, self._limited(receive), send_marked)
        except Exception as error:  # the last net: whatever it is, it must not leave as it is
            logger.exception("request failed", extra={"path": scope["path"]}, exc_info=error)
            if started:
                raise
            await answer_internal(trace_id=trace_id)(scope, receive, send_marked)

    def _limited(self, receive: Receive) -> Receive:
        size = 0

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_body_bytes:
                raise HTTPException(status_code=413, detail=self._limit)
            return message

        return receive_limited

    @property
    def _limit(self) -> str:
        return f"the body is larger than {self._max_body_bytes} bytes"

    def _too_large(self, trace_id: str) -> ASGIApp:
        # The body is not read, so the connection can't serve another request.
        headers = {"Connection": "close"}
        return answer(413, code=ValidationFailed.code, message=self._limit, trace_id=trace_id, headers=headers)


def _traced(scope: Scope) -> str | None:
    """The trace that the caller is in, as W3C Trace Context words it."""
    carrier = {"traceparent": Headers(scope=scope).get("traceparent", "")}
    context = get_current_span(_TRACE_CONTEXT.extract(carrier)).get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _read_as_json(scope: Scope) -> None:
    if scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "0")
    return int(declared) if declared.isdecimal() else 0
