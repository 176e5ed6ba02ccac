"""`hotswap metrics`: the figures of a model."""

from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hotswap.cli.console import connect, facts, show_json, show_table, table
from hotswap.cli.options import AsJson, ModelArgument, duration
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import LatencyView, MetricsView


def metrics(
    model: ModelArgument,
    *,
    window: Annotated[
        timedelta, typer.Option(parser=duration, metavar="DURATION", help="The time to look back: PT24H, or seconds.")
    ] = timedelta(hours=1),
    version: Annotated[str | None, typer.Option(help="Only this version of it.", show_default=False)] = None,
    environment: Annotated[
        Environment, typer.Option(help="The environment in which it serves.")
    ] = Environment.PRODUCTION,
    as_json: AsJson = False,
) -> None:
    """Show the figures of a model: answers, failures, latency, throughput and confidence."""
    with connect() as hotswap:
        seen = hotswap.monitoring.metrics(model, window=window, version=version, environment=environment.value)
    if as_json:
        show_json(seen)
    else:
        show_table(Group(_facts(seen), Text(), _answers(seen)))


def _facts(seen: MetricsView) -> Any:
    return facts(
        ("model", f"{seen.model} {seen.version or ''}".strip()),
        ("environment", seen.environment),
        ("from", f"{seen.begin:%Y-%m-%d %H:%M:%S %Z}"),
        ("until", f"{seen.end:%Y-%m-%d %H:%M:%S %Z}"),
        ("throughput", f"{seen.requests_per_second:,.1f} per second"),
        ("success", None if seen.success_rate is None else f"{seen.success_rate:.2%}"),
        ("confidence", _number(seen.confidence)),
        ("prediction", _number(seen.prediction)),
        ("outcomes known", f"{seen.quality.outcomes:,}"),
        ("accuracy", _number(seen.accuracy)),
        ("f1", _number(seen.quality.f1)),
        ("mean error", _number(seen.quality.mae)),
        ("drift", None if seen.drift is None else seen.drift.message),
    )


def _answers(seen: MetricsView) -> Table:
    """Return what the replicas recorded, and what the proxies answered to clients."""
    clients = seen.clients
    rows = [
        ("replicas", seen.total, seen.failed, seen.refused, None, _latency(seen.latency_ms)),
        ("clients", clients.total, clients.failed, clients.refused, clients.fell_back, _latency(clients.latency_ms)),
    ]
    return table("SEEN BY", "REQUESTS", "FAILED", "REFUSED", "FELL BACK", "LATENCY", rows=rows)


def _latency(seen: LatencyView) -> str | None:
    said = {"average": seen.average, "p50": seen.p50, "p95": seen.p95, "p99": seen.p99}
    return ", ".join(f"{name} {value:.2f} ms" for name, value in said.items() if value is not None) or None


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
