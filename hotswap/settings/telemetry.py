"""Traces and metrics."""

import re

from pydantic import Field, field_validator

from hotswap.settings.section import Section


class TelemetrySettings(Section):
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="address for traces by OTLP over HTTP, such as `http://jaeger:4318`; absent: no traces",
    )
    sampling_rate: float = Field(
        1.0, ge=0, le=1, description="share of traces that are kept, if the caller hasn't decided it"
    )
    worker_metrics: str | None = Field(
        None,
        pattern=r"^[^:/]+:\d+$",
        description="host:port at which Prometheus reads a worker's metrics of Temporal's SDK; absent: none",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _without_a_path(cls, given: str | None) -> str | None:
        """Refuse a path; Jaeger's collector in the operations guide (Thrift, on 14268) takes OTLP on 4318."""
        return given and re.sub(r":14268/api/traces/?$", ":4318", given).rstrip("/").removesuffix("/v1/traces")
