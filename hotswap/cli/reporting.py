"""`hotswap outcome`: what a prediction should have been."""

import json
import math
from datetime import datetime
from typing import Annotated

import typer

from hotswap.cli.console import connect, out, show_json
from hotswap.cli.options import AsJson, moment


def outcome(
    request: Annotated[str, typer.Argument(help="The prediction's requestId.", show_default=False)],
    label: Annotated[str, typer.Argument(help="What it should have been: a label or a number.", show_default=False)],
    *,
    observed_at: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="When the outcome was observed: 2026-12-27T00:00:00Z."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report what a prediction should have been. The same outcome again changes nothing; another one replaces it."""
    with connect() as hotswap:
        taken = hotswap.inference.report_outcome(request, _number(label), observed_at=observed_at)
    if as_json:
        show_json(taken)
    else:
        out.print(f"{request}: {label} is taken", markup=False, soft_wrap=True)


def _number(text: str) -> str | float:
    """Return a number if the text is one, so that 1.0 is the label 1."""
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else text
