"""`hotswap tokens`: service tokens, with which programs authenticate."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hotswap.cli.console import connect, err, out, show_json, show_table, shown_at, table
from hotswap.cli.options import AsJson, duration, examples, given
from hotswap.schemas.requests import CreateToken
from hotswap.schemas.responses import NewServiceTokenView, ServiceTokenView

CREATE = examples(
    "hotswap tokens create checkout --role Application",
    "hotswap tokens create ci-payments --role payments:MLEngineer --expires-in P30D",
    "export HOTSWAP_TOKEN=$(hotswap tokens create nightly --role DataScientist)",
)
LIST = examples("hotswap tokens list", "hotswap tokens list --all --json | jq -r '.items[].name'")
ROTATE = examples("hotswap tokens rotate checkout", "hotswap tokens rotate checkout --overlap PT1H")
REVOKE = examples('hotswap tokens revoke checkout --reason "found in a log"')

app = typer.Typer(
    help="Service tokens: programs exchange them for bearer tokens of ten minutes.",
    epilog=examples("hotswap tokens create checkout --role Application", "hotswap tokens list"),
    no_args_is_help=True,
)

Token = Annotated[str, typer.Argument(help="The token's name or id.", show_default=False)]
TokenReasonOption = Annotated[str | None, typer.Option(help="The reason, for the audit log.", show_default=False)]


@app.command(epilog=CREATE)
def create(
    name: Annotated[
        str, typer.Argument(help="The program that uses it; the audit log calls it service:NAME.", show_default=False)
    ],
    *,
    role: Annotated[
        list[str],
        typer.Option(
            help="A role such as Application; payments:ROLE is for that team's models only. May be given several times."
        ),
    ],
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="How long it is valid; at most P366D.", show_default="P90D"
        ),
    ] = None,
    reason: TokenReasonOption = None,
    as_json: AsJson = False,
) -> None:
    """Create a service token and print it. It is stored nowhere and can't be shown again."""
    with connect() as hotswap:
        _shown_once(
            hotswap.tokens.create(CreateToken(**given(name=name, roles=role, expires_in=expires_in, reason=reason))),
            as_json=as_json,
        )


@app.command("list", epilog=LIST)
def list_tokens(
    *,
    with_ended: Annotated[bool, typer.Option("--all", help="List revoked and expired tokens, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the service tokens, and when each was last used."""
    with connect() as hotswap:
        page = hotswap.tokens.list(with_ended=with_ended, limit=200)
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.name,
            each.token_id,
            ", ".join(each.roles),
            shown_at(each.created_at),
            each.created_by,
            _ends(each),
            shown_at(each.last_used_at) if each.last_used_at else "never",
        )
        for each in page.items
    ]
    show_table(table("NAME", "TOKEN", "ROLES", "CREATED", "BY", "ENDS", "LAST USED", rows=rows))


@app.command(epilog=ROTATE)
def rotate(
    token: Token,
    *,
    overlap: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="How long the present secret stays valid.", show_default="P1D"
        ),
    ] = None,
    reason: TokenReasonOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a token a new secret and print it. The present one stays valid for --overlap."""
    with connect() as hotswap:
        _shown_once(hotswap.tokens.rotate(token, overlap=overlap, reason=reason), as_json=as_json)


@app.command(epilog=REVOKE)
def revoke(token: Token, *, reason: TokenReasonOption = None, as_json: AsJson = False) -> None:
    """Revoke a token. Bearer tokens that it was exchanged for expire within ten minutes."""
    with connect() as hotswap:
        revoked = hotswap.tokens.revoke(token, reason=reason)
    if as_json:
        show_json(revoked)
        return
    out.print(f"{revoked.name} ({revoked.token_id}) is revoked", markup=False, soft_wrap=True)


def _shown_once(made: NewServiceTokenView, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    known = f"{made.name} ({made.token_id}), {', '.join(made.roles)}, until {shown_at(made.expires_at)}"
    err.print(f"{known}; it is not shown again:", markup=False, soft_wrap=True)
    print(made.token)  # noqa: T201 - alone on stdout, for $(...)


def _ends(token: ServiceTokenView) -> str:
    if token.revoked_at is not None:
        return f"revoked {shown_at(token.revoked_at)} by {token.revoked_by}"
    return f"{'expired ' if token.expires_at <= datetime.now(UTC) else ''}{shown_at(token.expires_at)}"
