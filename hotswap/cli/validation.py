"""`hotswap models validation` and `override`: a version's validation report, and an Admin's override of it."""

from typing import Annotated

import typer

from hotswap.cli.console import connect, err, out, show_json, show_table, table
from hotswap.cli.options import AsJson, ModelArgument, VersionArgument
from hotswap.schemas.responses import VersionValidationView


def validation(model: ModelArgument, version: VersionArgument, *, as_json: AsJson = False) -> None:
    """Show the newest validation report of a version, one row per check."""
    with connect() as hotswap:
        _show(hotswap.versions.validation(model, version), as_json=as_json)


def override(
    model: ModelArgument,
    version: VersionArgument,
    *,
    reason: Annotated[
        str | None, typer.Option(help="Why it may pass; stored with the version and audited.", show_default=False)
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            help="Override only this check: schemas, memory, latency or accuracy. May be given several times."
        ),
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="End the override.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let failed checks of a version's validation pass, from its next deployment on. Needs the role Admin."""
    if withdraw and check:
        raise typer.BadParameter("--withdraw ends the whole override; leave --check out")
    if not withdraw and reason is None:
        raise typer.BadParameter("give the reason why it may pass, with --reason")
    with connect() as hotswap:
        if withdraw:
            _show(hotswap.versions.withdraw_override(model, version, reason=reason), as_json=as_json)
        else:
            _show(
                hotswap.versions.override_validation(model, version, reason=reason or "", checks=check or ()),
                as_json=as_json,
            )


def _show(seen: VersionValidationView, *, as_json: bool) -> None:
    if as_json:
        show_json(seen)
        return
    if seen.report is None:
        err.print(f"{seen.model} {seen.version} is not validated yet; its first deployment validates it", markup=False)
    else:
        verdict = "passed" if seen.report.passed else "did not pass"
        out.print(f"{seen.model} {seen.version} {verdict}, for {seen.deployment_id}", markup=False, soft_wrap=True)
        rows = [
            (each.name, f"{each.outcome} (overridden)" if each.overridden else each.outcome, each.detail)
            for each in seen.report.checks
        ]
        show_table(table("CHECK", "OUTCOME", "DETAIL", rows=rows))
    if seen.override is not None:
        let = ", ".join(seen.override.checks)
        out.print(f"let pass by {seen.override.by}: {let}; {seen.override.reason}", markup=False, soft_wrap=True)
