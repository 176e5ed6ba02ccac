"""`hotswap keys`: the keys that sign HotSwap's own tokens, in the files of a data directory.

They are files and not the API's, so that a leaked key can be taken out of use while nothing runs, and so that nobody
can by a token alone.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hotswap.bootstrap.layout import Layout, locate
from hotswap.cli.console import CommandFailed, show_json, show_table, table
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson, duration, examples
from hotswap.cli.stack import DataDir
from hotswap.domain.errors import HotSwapError

app = typer.Typer(
    help="List, rotate and retire the keys that sign HotSwap's own tokens.",
    epilog=examples("hotswap keys list", "hotswap keys rotate"),
    no_args_is_help=True,
)

PUBLISHED_BEFORE = timedelta(minutes=1)
_KID = "zni0MzLsgdBHEJJ0SMrsF6PTiOzgubVw5uNFiIwyKps"


@app.command("list", epilog=examples("hotswap keys list", "hotswap keys list --json | jq -r '.[0].kid'"))
def list_keys(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the keys whose tokens are accepted, newest first, and show which of them signs."""
    _show(_place(data_dir), as_json=as_json)


@app.command(epilog=examples("hotswap keys rotate", "hotswap keys rotate --after PT10M", "hotswap keys rotate --now"))
def rotate(
    *,
    after: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="How long the new key is published before it signs; every proxy must have it by then.",
            show_default="PT1M",
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Sign with it at once, if the old key has leaked; proxies may refuse new tokens for a second."
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create a new signing key, which is published at once and signs a minute later. Old tokens stay valid."""
    need("server")
    from hotswap.bootstrap import credentials

    layout = _place(data_dir)
    signs_at = datetime.now(UTC) + (timedelta() if now else after or PUBLISHED_BEFORE)
    credentials.rotate_signing_keys(layout, credentials.load(layout), signs_at=signs_at)
    _show(layout, as_json=as_json)


@app.command(epilog=examples(f"hotswap keys retire {_KID}"))
def retire(
    kid: Annotated[
        str,
        typer.Argument(
            help="The key's name in `hotswap keys list`; write -- before it if it begins with a hyphen.",
            show_default=False,
        ),
    ],
    *,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Retire a key that no longer signs: every token that it has signed is refused within seconds."""
    need("server")
    from hotswap.bootstrap import credentials

    layout = _place(data_dir)
    try:
        credentials.retire_signing_key(layout, credentials.load(layout), kid)
    except HotSwapError as error:
        raise CommandFailed(error.message) from None
    _show(layout, as_json=as_json)


def _place(data_dir: DataDir) -> Layout:
    layout = locate(data_dir)
    if not layout.secrets.is_dir():
        raise CommandFailed(
            f"there are no keys in {layout.secrets}; `hotswap up` makes them, or name another --data-dir"
        )
    return layout


def _show(layout: Layout, *, as_json: bool) -> None:
    need("server")
    from hotswap.bootstrap import credentials
    from hotswap.security import signing

    now = datetime.now(UTC)
    keys = credentials.signing_keys(credentials.load(layout))
    current = signing.signing_key(keys, now=now)["kid"]

    def use(key: signing.Jwk) -> str:
        if key["kid"] == current:
            return "signs"
        return "will sign" if signing.signs_from(key) > now else "is still believed"

    found = [
        {"kid": key["kid"], "use": use(key), "signsFrom": signing.signs_from(key).isoformat() if "nbf" in key else None}
        for key in sorted(keys, key=signing.signs_from, reverse=True)
    ]
    if as_json:
        show_json(found)
        return
    show_table(table("KEY", "", "SIGNS FROM", rows=[(key["kid"], key["use"], key["signsFrom"]) for key in found]))
