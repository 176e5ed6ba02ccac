"""Connections of our processes to Temporal: one converter, the headers that travel along, and one way to connect.

Protects the rule that malformed input never wedges a workflow: what can't be read fails that workflow or activity with
the field named, instead of failing its tasks for ever. Connection settings are Temporal's own environment variables
and profiles (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, ...).
"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client, Interceptor
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from hotswap.domain.errors import ValidationFailed
from hotswap.schemas.fields import told
from hotswap.telemetry.propagation import Propagation

MOST_MESSAGE, MOST_CAUSE, MOST_TRACE, MOST_CAUSES = 2_000, 300, 600, 2


class _ValidatingJSONConverter(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            raise ApplicationError(
                f"malformed input: {describe(error)}", type=ValidationFailed.code, non_retryable=True
            ) from None


class _PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        json = _ValidatingJSONConverter()
        super().__init__(
            *(
                json if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


class BriefFailures(DefaultFailureConverter):
    """Failures that Temporal shows while they are retried: of one above 4 KB it says only that it is too large.

    What is cut off is in the log of the process that failed.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        failure.message = _shortened(failure.message, MOST_MESSAGE)
        failure.stack_trace = failure.stack_trace[-MOST_TRACE:]
        cause = failure.cause if failure.HasField("cause") else None
        for _ in range(MOST_CAUSES):
            if cause is None:
                return
            cause.message, cause.stack_trace = _shortened(cause.message, MOST_CAUSE), ""
            cause = cause.cause if cause.HasField("cause") else None
        if cause is not None:
            cause.ClearField("cause")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter, failure_converter_class=BriefFailures)


INTERCEPTORS = (Propagation(),)


def describe(error: ValidationError) -> str:
    """Return the first problems of a pydantic error, each with its field, but without the values."""
    problems = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'input'}: {told(problem)}" for problem in problems)


async def connect(
    *,
    lazy: bool = False,
    identity: str | None = None,
    interceptors: Sequence[Interceptor] = (),
    metrics: str | None = None,
) -> Client:
    """Connect to the server that Temporal's environment names.

    `lazy` leaves the connection to the first call, so that a process can start while Temporal is away. At `metrics`
    (host:port) Prometheus can read the SDK's metrics, of this client and of the workers that use it.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "127.0.0.1:7233")
    options: dict[str, Any] = {**config, "data_converter": DATA_CONVERTER, "lazy": lazy}
    options["interceptors"] = [*INTERCEPTORS, *interceptors]
    if identity is not None:
        options["identity"] = identity
    if metrics is not None:
        shown = PrometheusConfig(
            bind_address=metrics, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
        options["runtime"] = Runtime(telemetry=TelemetryConfig(metrics=shown))
    return await Client.connect(**options)
