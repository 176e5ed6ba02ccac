"""`hotswap audit`: who did what to which thing, when and why."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hotswap.cli.console import connect, show_json, show_table, table
from hotswap.cli.options import AsJson, moment_or_duration


def audit(
    target: Annotated[
        str | None, typer.Argument(help="The id of a deployment, model or version. Default: all.")
    ] = None,
    *,
    actor: Annotated[str | None, typer.Option(help="Only changes by this person or program.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, as in the table's column WHAT.")] = None,
    trace_id: Annotated[str | None, typer.Option(help="Only changes by the request with this trace id.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only changes since a time (2026-12-27T00:00:00Z) or within a duration (PT1H)."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="The most rows to show.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after a page: the `next` of its JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """List changes with who made them and why, newest first."""
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
