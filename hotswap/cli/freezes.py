"""`hotswap freeze`, `thaw` and `freezes`: times in which no rollout starts in an environment."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from hotswap.cli.console import CommandFailed, connect, out, show_json, show_table, shown_at, table
from hotswap.cli.options import AsJson, moment, moment_or_duration
from hotswap.client import HotSwap
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import FreezeView


def freeze(
    environment: Annotated[Environment, typer.Argument(help="The environment.", show_default=False)],
    *,
    until: Annotated[
        str,
        typer.Option(help="The end, such as 2026-12-27T00:00:00Z, or the duration, such as P3D.", show_default=False),
    ],
    reason: Annotated[
        str, typer.Option(help="The reason, which is shown to people whose deployment is refused.", show_default=False)
    ],
    begins: Annotated[
        datetime | None,
        typer.Option("--from", parser=moment, metavar="TIME", help="The begin. Default: now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze an environment: no rollout starts there until the end.

    Deployments that have started go on; aborts and rollbacks stay possible.
    """
    end = moment_or_duration(until)
    with connect() as hotswap:
        made = hotswap.freezes.create(
            environment.value,
            until=end if isinstance(end, datetime) else None,
            duration=end if isinstance(end, timedelta) else None,
            reason=reason,
            starts_at=begins,
        )
    if as_json:
        show_json(made)
    else:
        out.print(f"{made.freeze_id}: {_said(made)}", markup=False, soft_wrap=True)


def thaw(
    what: Annotated[str, typer.Argument(help="An environment, or the id of one of its freezes.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """End the present freezes of an environment, or one freeze by its id. Deployments that waited for it start."""
    with connect() as hotswap:
        lifted = [hotswap.freezes.thaw(each) for each in _meant(hotswap, what)]
    if as_json:
        show_json([each.to_json() for each in lifted])
        return
    for each in lifted:
        out.print(f"{each.freeze_id} ended: {each.environment}, {each.reason}", markup=False, soft_wrap=True)


def freezes(
    *,
    environment: Annotated[Environment | None, typer.Option(help="List only this environment's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the freezes that are in force or planned."""
    with connect() as hotswap:
        page = hotswap.freezes.list(environment=environment.value if environment else None)
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.freeze_id,
            each.environment,
            "in force" if each.is_in_force else "planned",
            shown_at(each.starts_at),
            shown_at(each.until),
            each.created_by,
            each.reason,
        )
        for each in page.items
    ]
    show_table(table("FREEZE", "ENVIRONMENT", "", "FROM", "UNTIL", "BY", "REASON", rows=rows))


def _meant(hotswap: HotSwap, what: str) -> list[str]:
    if what not in set(Environment):
        return [what]
    found = [each.freeze_id for each in hotswap.freezes.list(environment=what).items if each.is_in_force]
    if not found:
        raise CommandFailed(f"{what} is not frozen now; `hotswap freezes` lists the present and planned freezes")
    return found


def _said(made: FreezeView) -> str:
    when = "is" if made.is_in_force else f"is from {shown_at(made.starts_at)} on"
    return f"{made.environment} {when} frozen until {shown_at(made.until)}"
