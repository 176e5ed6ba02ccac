"""The outermost layer of each request and answer: trace, reason, size limit, content type, uncaught errors.

It protects three rules. Each answer names its trace id, and so does what is logged and audited meanwhile: the id is
that of the caller's W3C `traceparent`, or of the span that FastAPI began if the API is traced, or the caller's
`x-request-id` if it is well-formed. Nobody can make the API hold more than a small body in memory. And every exception
is answered in the error format. JSON is read whatever content type was sent, as curl's `-d` does; that is
safe since no route takes a cookie, so no other site's form can act for a user. `api.auth` decides who may call a route.
"""

import logging
import re
import time
import uuid

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import get_current
from opentelemetry.trace import format_trace_id, get_current_span
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

TELEMETRY = TelemetryConfig(
    exclude=lambda scope: scope["path"] in UNTRACED,
    operation_spans=False,  # one span for a request: what is inside of it is Temporal's to tell
    metrics=False,  # `REQUESTS`, by which alerts and dashboards go
    logs=False,
    auto_configure=False,  # `hotswap.telemetry.tracing` says where to, by our settings
)
"""FastAPI's spans of each request, within the trace of its caller; none if tracing is not set up."""

REQUESTS = Histogram(
    "hotswap_api_request_duration_seconds",
    "How long the API took for its answers.",
    ("method", "route", "status"),
)

logger = logging.getLogger(__name__)


class Edge:
    """Pure ASGI; outermost of all but the span."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        trace_id = _trace_id(scope) or request_id
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
            _account(scope, status, time.perf_counter() - begun)

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


def _trace_id(scope: Scope) -> str | None:
    """Return the trace id of the caller (W3C Trace Context), else of our own span; None if neither traces."""
    headers = Headers(scope=scope)
    carried = {name: headers[name] for name in _TRACE_CONTEXT.fields if name in headers}
    context = get_current_span(_TRACE_CONTEXT.extract(carried, get_current())).get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def _account(scope: Scope, status: int, seconds: float) -> None:
    """Count the request by its route's template: paths and methods that callers write must not become labels."""
    route = getattr(scope.get("route"), "path", "")
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    REQUESTS.labels(method, route, str(status)).observe(seconds)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _reason(scope: Scope) -> str | None:
    """Return the reason that the caller gave, read as UTF-8, which most clients send."""
    given = Headers(scope=scope).get(REASON_HEADER, "").encode("latin-1").decode(errors="replace")
    return " ".join(given.split())[:MOST_REASON] or None


def _read_as_json(scope: Scope) -> None:
    if scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "0")
    return int(declared) if declared.isdecimal() else 0
