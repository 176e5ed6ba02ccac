"""`hotswap drift`: the distance of a model's requests from its training data."""

from typing import Annotated

import typer

from hotswap.cli.console import connect, facts, out, show_json, show_table, table
from hotswap.cli.options import AsJson, ModelArgument
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import DriftView


def drift(
    model: ModelArgument,
    *,
    environment: Annotated[
        Environment, typer.Option(help="The environment in which it is active.")
    ] = Environment.PRODUCTION,
    now: Annotated[bool, typer.Option("--now", help="Make a new report now, instead of showing the newest.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far each feature of a model's requests is from its reference."""
    with connect() as hotswap:
        seen = hotswap.monitoring.drift(model, environment=environment.value, now=now)
    if as_json:
        show_json(seen)
        return
    show_table(
        facts(
            ("model", f"{seen.model} {seen.version} in {seen.environment}"),
            ("looked at", f"{seen.at:%Y-%m-%d %H:%M:%S %Z}"),
            ("samples", f"{seen.samples:,}"),
            ("drifted", _drifted(seen)),
            ("", seen.message),
        )
    )
    if not seen.features:
        return
    out.print()
    furthest = sorted(seen.features.items(), key=lambda each: -each[1].distance)
    rows = [
        (name, each.kind, f"{each.distance:.3f}", f"{each.psi:.3f}", _ks(each.ks), "drifted" if each.is_drifted else "")
        for name, each in furthest
    ]
    show_table(table("FEATURE", "KIND", "DISTANCE", "PSI", "KS", "", rows=rows))


def _drifted(seen: DriftView) -> str:
    if seen.is_drifted is None:
        return "can't be told"
    return "yes" if seen.is_drifted else "no"


def _ks(statistic: float | None) -> str:
    return "" if statistic is None else f"{statistic:.3f}"
