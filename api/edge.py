"""What every request meets first and every answer passes last: trace, reason, size limit, content type, the last net.

Protects three rules: each answer names its trace id (of the caller's W3C `traceparent`, else of the trace that begins
here where the API is traced, else his `x-request-id` if it is a decent one), and what is logged and audited meanwhile
names it too; nobody can make the API hold more than a small body in memory; and no exception gets out as anything but
the error format. JSON is read whatever content type was sent, as curl's `-d` does; that is safe since no route takes a
cookie, so no other site's form can act for a user. Who may call what is left to `api.auth`.
"""

import logging
import re
import time
import uuid

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id, get_current_span, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer, answer_internal
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.headers import REASON_HEADER, REQUEST_ID_HEADER
from hotswap.telemetry import logs

MAX_BODY_BYTES = 1024 * 1024
"""A registration's metadata is the largest body there is; inference never comes here."""

MOST_REASON = 2_000

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACE_CONTEXT = TraceContextTextMapPropagator()

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

UNTRACED = frozenset({"/health", "/health/ready", "/metrics"})
"""Asked every few seconds for ever, by nobody who would look at a trace."""

REQUESTS = Histogram(
    "hotswap_api_request_duration_seconds",
    "How long the API took for its answers.",
    ("method", "route", "status"),
)

logger = logging.getLogger(__name__)
tracer = get_tracer(__name__)


class Edge:
    """Pure ASGI; outermost of all."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = _callers(scope)
        if scope["path"] in UNTRACED:
            await self._answer(scope, receive, send, get_current_span(caller))
            return
        with tracer.start_as_current_span("HTTP", caller, kind=SpanKind.SERVER) as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        request_id = _request_id(scope)
        trace_id = _trace_id(span) or request_id
        scope.setdefault("state", {}).update(trace_id=trace_id, request_id=request_id)
        logs.trace_id.set(trace_id)
        logs.reason.set(_reason(scope))
        _read_as_json(scope)
        begun, status = time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            if _declared_length(scope) > self._max_body_bytes:
                await self._too_large(trace_id)(scope, receive, send_marked)
                return
            await self._app(scope, self._limited(receive), send_marked)
        except Exception as error:  # the last net: whatever it is, it must not leave as it is
            logger.exception("request failed", extra={"path": scope["path"]}, exc_info=error)
            if status:
                raise
            await answer_internal(trace_id=trace_id)(scope, receive, send_marked)
        finally:
            _account(scope, status, time.perf_counter() - begun, span)

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


def _callers(scope: Scope) -> Context:
    """The trace that the caller is in, as W3C Trace Context words it."""
    headers = Headers(scope=scope)
    return _TRACE_CONTEXT.extract({name: headers[name] for name in _TRACE_CONTEXT.fields if name in headers})


def _trace_id(span: Span) -> str | None:
    """None where nobody traces: neither the caller nor we."""
    context = span.get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def _account(scope: Scope, status: int, seconds: float, span: Span) -> None:
    """By the route's template: what callers write as a path or method must not become a label."""
    route = getattr(scope.get("route"), "path", "")
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    REQUESTS.labels(method, route, str(status)).observe(seconds)
    if span.is_recording():
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "url.path": scope["path"],
                "http.response.status_code": status,
            }
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _reason(scope: Scope) -> str | None:
    """In UTF-8, which most clients send although HTTP's headers are older than it."""
    given = Headers(scope=scope).get(REASON_HEADER, "").encode("latin-1").decode(errors="replace")
    return " ".join(given.split())[:MOST_REASON] or None


def _read_as_json(scope: Scope) -> None:
    if scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "0")
    return int(declared) if declared.isdecimal() else 0
