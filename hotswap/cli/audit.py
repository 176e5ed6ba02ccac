"""`hotswap audit`: who did what to which thing, when and why."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hotswap.cli.console import connect, show_json, show_table, table
from hotswap.cli.options import AsJson, moment_or_duration


def audit(
    target: Annotated[
        str | None, typer.Argument(help="A deployment's, model's or version's id; all when absent.")
    ] = None,
    *,
    actor: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, as the table words it.")] = None,
    trace_id: Annotated[str | None, typer.Option(help="Only what came of this request.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From when on: 2026-12-27T00:00:00Z, or so long ago: PT1H."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on from here: `next` of the JSON before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was changed, by whom and why, newest first."""
    begin = None if since is None else moment_or_duration(since)
    if isinstance(begin, timedelta):
        begin = datetime.now(UTC) - begin
    with connect() as hotswap:
        page = hotswap.audit.list(
            target=target, actor=actor, action=action, trace_id=trace_id, since=begin, limit=limit, cursor=cursor
        )
    if as_json:
        show_json(page)
        return
    rows = [
        (f"{each.at:%Y-%m-%d %H:%M:%S %Z}", each.actor, each.action, f"{each.target_type} {each.target}", each.why)
        for each in page.items
    ]
    show_table(table("AT", "WHO", "WHAT", "OF", "WHY", rows=rows))
