"""Where the API is traced a request is one span, of its caller's trace, and its answer names it."""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from api.app import assemble
from api.edge import TELEMETRY
from api.orchestration import Orchestration
from hotswap.persistence.platform.database import Sessions
from hotswap.settings import Settings
from tests.fixtures.api import make_app

pytestmark = pytest.mark.slow  # each traces requests through the whole API

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}

Spans = Callable[[], list[ReadableSpan]]


@pytest.fixture
def sampler() -> Sampler:
    return ALWAYS_ON


@pytest.fixture
async def traced(settings: Settings, sampler: Sampler) -> AsyncIterator[tuple[httpx.AsyncClient, Spans]]:
    """The API, and the spans that it has sent so far."""
    spans, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = assemble(telemetry={**TELEMETRY, "tracer_provider": provider})
    app.state.parts = make_app(settings, Sessions(cast("Any", None)), cast("Orchestration", None)).state.parts
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hotswap") as client:
        yield client, lambda: list(spans.get_finished_spans())
    provider.shutdown()


async def test_a_request_is_one_span_of_its_callers_trace(traced: tuple[httpx.AsyncClient, Spans]) -> None:
    api, spans = traced
    answer = await api.get("/api/v1/models/fraud", headers=CALLED)
    (span,) = spans()
    assert (span.name, span.kind, span.status.status_code) == (
        "GET /api/v1/models/{model}",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert span.parent is not None
    assert (format_trace_id(span.parent.trace_id), format_span_id(span.parent.span_id)) == (TRACE, CALLER)
    named = {
        "http.request.method": "GET",
        "http.route": "/api/v1/models/{model}",
        "url.path": "/api/v1/models/fraud",
        "http.response.status_code": 401,
    }
    assert named.items() <= dict(span.attributes or {}).items()
    assert answer.json()["error"]["traceId"] == TRACE


async def test_a_trace_that_begins_here_is_named(traced: tuple[httpx.AsyncClient, Spans]) -> None:
    api, spans = traced
    answer = await api.get("/api/v1/models", headers={"x-request-id": "mine"})
    (span,) = spans()
    assert span.parent is None
    assert answer.json()["error"]["traceId"] == format_trace_id(span.context.trace_id)
    assert answer.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF])
async def test_a_trace_that_is_not_kept_is_named_all_the_same(traced: tuple[httpx.AsyncClient, Spans]) -> None:
    api, spans = traced
    assert (await api.get("/api/v1/models", headers=CALLED)).json()["error"]["traceId"] == TRACE
    assert len((await api.get("/api/v1/models")).json()["error"]["traceId"]) == len(TRACE)
    assert spans() == []


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/metrics"])
async def test_what_is_asked_every_few_seconds_is_no_span(traced: tuple[httpx.AsyncClient, Spans], path: str) -> None:
    api, spans = traced
    await api.get(path)
    assert spans() == []


async def test_what_fails_here_is_an_error(
    traced: tuple[httpx.AsyncClient, Spans], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, spans = traced
    monkeypatch.setattr("api.edge._declared_length", _fails)
    answer = await api.get("/api/v1/models")
    (span,) = spans()
    assert (answer.status_code, span.status.status_code) == (500, StatusCode.ERROR)


def _fails(_: object) -> None:
    raise OSError("a fault")
