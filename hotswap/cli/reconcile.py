"""`hotswap reconcile`: what differs between what should be and what is, and its repair."""

from typing import Annotated

import typer

from hotswap.cli.console import connect, err, out, show_json, show_table, table
from hotswap.cli.options import AsJson
from hotswap.cli.outcome import Exit
from hotswap.schemas.responses import ReconciliationView

CODES = (
    "Exit code: 0 nothing differs. Without --repair: 1 something differs. With --repair: 0 all that differed is being "
    "repaired, 1 something needs a person, or the repair is not confirmed yet."
)


def reconcile(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what is safe to repair. Needs the role Admin.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="The reason of the repair, for the audit log.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare rows, workflows, routes, applications and proxies, and list what differs. Change nothing.

    A model with an open deployment is left alone.
    """
    if reason is not None and not repair:
        raise typer.BadParameter("--reason needs --repair: a comparison changes nothing")
    with connect() as hotswap:
        found = hotswap.reconciliation.repair(reason=reason) if repair else hotswap.reconciliation.find()
    if as_json:
        show_json(found)
    else:
        show_findings(found, repaired=repair)
    needs_more = any(each.repair is None for each in found.findings) or not found.confirmed
    raise typer.Exit(Exit.NOT_DONE if found.findings and (needs_more or not repair) else Exit.DONE)


def show_findings(found: ReconciliationView, *, repaired: bool) -> None:
    """Print the findings as a table, and below it what was done or what to do."""
    if not found.findings:
        out.print("nothing differs", markup=False)
        return
    rows = [
        (
            each.subject,
            each.kind,
            each.expected,
            each.actual,
            each.next_step if each.repair else _by_hand(each.next_step),
        )
        for each in found.findings
    ]
    show_table(table("WHAT", "KIND", "SHOULD BE", "IS", "NEXT", rows=rows))
    safe = sum(each.repair is not None for each in found.findings)
    left = len(found.findings) - safe
    said = f"{len(found.findings)} differences: {safe} the reconciler repairs, {left} need a person"
    if not repaired:
        err.print(f"{said}; `hotswap reconcile --repair` repairs at once", markup=False, soft_wrap=True)
    elif not found.confirmed:
        err.print(f"{said}; the repair still runs, run `hotswap reconcile` again", markup=False, soft_wrap=True)
    else:
        started = f"; started: {', '.join(found.started)}" if found.started else ""
        err.print(f"{said}{started}", markup=False, soft_wrap=True)


def _by_hand(next_step: str) -> str:
    return f"a person must: {next_step}"
