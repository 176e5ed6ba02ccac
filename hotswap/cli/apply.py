"""`hotswap apply`: let models, versions, aliases and what serves be as files say."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hotswap.cli.console import CommandFailed, connect, err, out, show_json, show_table, table, tell
from hotswap.cli.options import AsJson
from hotswap.cli.outcome import Exit
from hotswap.client import ApiError, HotSwap
from hotswap.manifests.carrying import carry_out
from hotswap.manifests.looking import look
from hotswap.manifests.planning import Plan, PlannedAction, PlannedChange, plan
from hotswap.manifests.reading import ManifestText, Unreadable, files, read
from hotswap.manifests.schema import Manifest

CODES = (
    "Exit code: 0 everything is as the files say, 1 it is not (refused, failed, or not confirmed), 2 the files are not "
    "valid. With --dry-run: 0 nothing differs, 1 something differs, 2 the present state couldn't be read."
)


def apply(
    file: Annotated[
        str,
        typer.Option("--file", "-f", help="A file, a directory of files, or - for stdin.", show_default=False),
    ],
    *,
    only_look: Annotated[bool, typer.Option("--dry-run", help="Show the changes, and make none.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask for confirmation; needed without a terminal.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also deploy versions whose last deployment was rolled back or stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make models match YAML or JSON files: register versions, change metadata and aliases, and deploy what differs.

    Whatever no file names stays as it is.
    """
    wanted = _read(file)
    can_ask = sys.stdin.isatty() and file != "-"
    if not (only_look or yes or can_ask):
        raise typer.BadParameter("without a terminal --yes is needed to make the changes; --dry-run shows them")
    with connect() as hotswap:
        try:
            found = plan(wanted, look(hotswap, wanted), again=again)
        except ApiError as error:
            tell(error)
            raise typer.Exit(Exit.NOT_UNDERSTOOD if only_look else Exit.NOT_DONE) from None
        if not as_json:
            _show(found)
        if only_look or found.problems or not found.changes:
            if as_json:
                show_json(_as_json(found, {}))
            differs = bool(found.changes or found.problems)
            raise typer.Exit(Exit.NOT_DONE if differs else Exit.DONE)
        if not yes and not typer.confirm(f"Do {_counted(found)}?", err=True):
            raise typer.Exit(Exit.NOT_DONE)
        _carry_out(hotswap, found, as_json=as_json)


def _read(file: str) -> list[Manifest]:
    try:
        return read([ManifestText("stdin", sys.stdin.read())] if file == "-" else files(Path(file)))
    except Unreadable as error:
        for problem in error.problems:
            err.print(problem, markup=False, soft_wrap=True)
        raise typer.Exit(Exit.NOT_UNDERSTOOD) from None


def _carry_out(hotswap: HotSwap, found: Plan, *, as_json: bool) -> None:
    done: dict[int, str | None] = {}
    try:
        for change, started in carry_out(hotswap, found):
            done[id(change)] = started
            if not as_json:
                by = f" by {started}" if started is not None else ""
                out.print(f"{_line(change)[0]} {change.model} {change.target}{by}: done", markup=False, soft_wrap=True)
    except (ApiError, TimeoutError) as error:
        if as_json:
            show_json(_as_json(found, done))
        if isinstance(error, ApiError):
            tell(error)
        left = len(found.changes) - len(done)
        raise CommandFailed(f"{error}; {len(done)} done, {left} not: apply again goes on from there") from None
    if as_json:
        show_json(_as_json(found, done))


def _show(found: Plan) -> None:
    for each in found.under_way:
        err.print(each, markup=False, soft_wrap=True)
    for problem in found.problems:
        err.print(f"can't be: {problem}", markup=False, soft_wrap=True)
    if found.changes:
        show_table(table("", "MODEL", "WHAT", "NOW", "THEN", rows=[_line(change) for change in found.changes]))
    elif not found.problems:
        err.print("nothing to do: it is as the files say", markup=False)


def _line(change: PlannedChange) -> tuple[str, str, str, Any, Any]:
    return change.action.value, change.model, change.target, change.before, change.after


def _counted(found: Plan) -> str:
    deployments = sum(change.action is PlannedAction.DEPLOY for change in found.changes)
    some = f", {deployments} of them deployments" if deployments else ""
    return f"these {len(found.changes)} changes{some}"


def _as_json(found: Plan, done: dict[int, str | None]) -> dict[str, Any]:
    return {
        "changes": [
            {
                "action": change.action.value,
                "model": change.model,
                "target": change.target,
                "before": change.before,
                "after": change.after,
                "done": id(change) in done,
                "deploymentId": done.get(id(change)),
            }
            for change in found.changes
        ],
        "underWay": list(found.under_way),
        "problems": list(found.problems),
    }
