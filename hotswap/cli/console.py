"""Connection, output and error messages, which all commands share.

The address and token come as a pair, from `HOTSWAP_URL` and `HOTSWAP_TOKEN` (or `HOTSWAP_TOKEN_FILE`) or from the
embedded stack's data directory, so that the stack's own token is never sent to an address that somebody put into the
environment.
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from hotswap.bootstrap.layout import Layout, StackError
from hotswap.cli.outcome import Exit
from hotswap.client import ApiError, HotSwap, token_of
from hotswap.client.transport import refused
from hotswap.schemas.responses import View

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

UNLIMITED = 10_000

_NEXT = {
    "UNREACHABLE": "check that it runs: `hotswap up --detach` starts the embedded stack; HOTSWAP_URL names its address",
    "TIMEOUT": "check what happened before you repeat it",
    "UNAUTHORIZED": 'get a new token: eval "$(hotswap env --shell)", or set HOTSWAP_TOKEN',
    "FORBIDDEN": "ask somebody with that role, or set HOTSWAP_TOKEN to a token that has it",
    "MODEL_NOT_FOUND": "`hotswap models list` shows those there are",
    "VERSION_NOT_FOUND": "`hotswap models show MODEL` lists its versions",
    "ALIAS_NOT_FOUND": "`hotswap models show MODEL` lists its aliases",
    "DEPLOYMENT_NOT_FOUND": "`hotswap get` lists the newest deployments",
    "SERVICE_UNAVAILABLE": "`hotswap env --json` shows which parts run; /health/ready says what is missing",
}


class CommandFailed(Exception):
    """The command can't do what was asked; the message is for a person and says what would help."""


class ErrorsToldGroup(TyperGroup):
    """The group of commands, which turns a command's failure into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ApiError as error:
            tell(error)
            raise typer.Exit(Exit.NOT_DONE) from None
        except ValidationError as error:
            tell(refused(error))
            raise typer.Exit(Exit.NOT_DONE) from None
        except (CommandFailed, StackError, TimeoutError) as error:
            _say(str(error))
            raise typer.Exit(Exit.NOT_DONE) from None
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None


def connect() -> HotSwap:
    """Return a client for the address in the environment, or for the embedded stack. Raises CommandFailed."""
    if url := os.environ.get("HOTSWAP_URL"):
        try:
            return HotSwap(url, token_of(os.environ), reason=os.environ.get("HOTSWAP_REASON"))
        except ValueError as error:
            raise CommandFailed(str(error)) from None
    from hotswap.bootstrap.layout import locate

    return connect_to_stack(locate(None), token=os.environ.get("HOTSWAP_TOKEN"))


def connect_to_stack(layout: Layout, *, token: str | None = None) -> HotSwap:
    """Return a client for a data directory's stack, with its own token if none is given. Raises CommandFailed."""
    from hotswap.stack.lifecycle import read_state
    from hotswap.stack.ports import HOST

    state = read_state(layout)
    if state is None:
        raise CommandFailed(
            f"no stack runs on {layout.data}, and HOTSWAP_URL is not set; `hotswap up --detach` starts a stack"
        )
    token_file = layout.secrets / "token"
    try:
        token = token or token_file.read_text().strip()
    except OSError as error:
        raise CommandFailed(f"can't read the stack's token {token_file}: {error.strerror}; set HOTSWAP_TOKEN") from None
    return HotSwap(f"http://{HOST}:{state.ports.public}", token, reason=os.environ.get("HOTSWAP_REASON"))


def show_table(what: RenderableType) -> None:
    """Print for people. Without a terminal nothing is cut or wrapped, so that grep and awk find everything."""
    target = out if out.is_terminal else Console(file=out.file, width=UNLIMITED, highlight=False)
    target.print(what)


def show_json(value: View | Any) -> None:
    """Print one JSON document: on one line if a program reads it, indented for a person."""
    plain = value.to_json() if isinstance(value, View) else value
    print(json.dumps(plain, indent=2 if out.is_terminal else None), flush=True)  # noqa: T201 - rich would wrap it


def table(*columns: str, rows: Sequence[Sequence[object]], title: str | None = None) -> Table:
    """Return a table whose first column names the row, so it is never cut."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        made.add_row(*(escape(str(cell)) if cell is not None else "-" for cell in row))
    return made


def shown_at(at: datetime) -> str:
    """Return a point in time as tables and sentences show it, in UTC to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def facts(*pairs: tuple[str, object]) -> Table:
    """Return names and values beneath each other, without those that are None or empty."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            made.add_row(name, escape(str(value)))
    return made


def tell(error: ApiError) -> None:
    untold = [problem for problem in error.details if problem.message not in error.message]
    details = [f"  {problem.field}: {problem.message}" for problem in untold]
    _say(error.message, *details, hint=_NEXT.get(error.code))
    if error.trace_id and error.status >= 500:
        err.print(f"  trace id {error.trace_id}", markup=False)


def _say(message: str, *more: str, hint: str | None = None) -> None:
    err.print(f"[bold red]hotswap:[/] {escape(message)}", soft_wrap=True)
    for line in more:
        err.print(line, markup=False, soft_wrap=True)
    if hint and hint not in message:
        err.print(f"  {hint}", markup=False, soft_wrap=True)
    sys.stderr.flush()
