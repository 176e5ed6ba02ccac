"""Traces and metrics."""

import re

from pydantic import Field, field_validator

from hotswap.settings.section import Section


class TelemetrySettings(Section):
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where traces are sent, by OTLP over HTTP: `http://jaeger:4318`; none when absent",
    )
    sampling_rate: float = Field(
        1.0, ge=0, le=1, description="share of traces that are kept; a caller that is traced decides for itself"
    )
    worker_metrics: str | None = Field(
        None,
        pattern=r"^[^:/]+:\d+$",
        description="host:port where a worker shows Prometheus what Temporal's SDK counts; nowhere when absent",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _without_a_path(cls, given: str | None) -> str | None:
        """Jaeger's collector as the operations guide has it (Thrift, on 14268) takes OTLP on 4318."""
        return given and re.sub(r":14268/api/traces/?$", ":4318", given).rstrip("/").removesuffix("/v1/traces")
