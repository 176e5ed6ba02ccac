"""Traces, where somebody wants them: from a request of the API through Temporal to the activities that come of it.

Spans go to a collector by OTLP over HTTP. Without an endpoint nothing is imported, started or sent, and the API's spans
are OpenTelemetry's own no-ops. Temporal's part is its SDK's interceptor: it carries the trace in headers beside the
messages, never in them, so that a workflow's history replays whether it was traced or not.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from hotswap.settings import TelemetrySettings

if TYPE_CHECKING:
    from temporalio.contrib.opentelemetry import TracingInterceptor

EXPORT_SECONDS = 3
"""The time for one batch: a collector that hangs must not hold up a process that ends."""


def start_tracing(part: str, settings: TelemetrySettings) -> "list[TracingInterceptor]":
    """Trace this process from now on, if the settings say where to; called once, at its start.

    Returns what its client of Temporal takes as `interceptors`. What is not sent yet is sent when the process ends.
    """
    if settings.otlp_endpoint is None:
        return []
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from temporalio.contrib.opentelemetry import TracingInterceptor

    provider = TracerProvider(
        resource=Resource.create({"service.name": f"hotswap-{part}", "service.version": version("hotswap")}),
        sampler=ParentBased(TraceIdRatioBased(settings.sampling_rate)),
    )
    endpoint = f"{settings.otlp_endpoint}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=EXPORT_SECONDS)))
    trace.set_tracer_provider(provider)
    # Trace and span alone: baggage is what any caller likes, and would be kept in histories.
    carries = TraceContextTextMapPropagator()
    set_global_textmap(carries)
    interceptor = TracingInterceptor()
    interceptor.text_map_propagator = carries
    return [interceptor]
