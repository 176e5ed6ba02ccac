"""`hotswap db`: migrate the schema of your own PostgreSQL, or print the SQL that does."""

import io
from typing import Annotated

import typer

from hotswap.cli.console import CommandFailed, out, show_json
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson, examples

MIGRATE = examples("hotswap db migrate", "hotswap db migrate --json | jq -r .revision")
SQL = examples("hotswap db sql | psql -v ON_ERROR_STOP=1 ml_deployment", "hotswap db sql --from 0012 > upgrade.sql")

app = typer.Typer(
    help="Migrate the schema of your own PostgreSQL; `hotswap up` migrates the embedded one itself.",
    epilog=examples("hotswap db migrate", "hotswap db sql"),
    no_args_is_help=True,
)


@app.command(epilog=MIGRATE)
def migrate(*, as_json: AsJson = False) -> None:
    """Migrate the database of HOTSWAP_POSTGRES__URL to the newest schema. Its data is kept."""
    need("server")
    from hotswap.domain.errors import Unavailable
    from hotswap.persistence.migrations import migrate
    from hotswap.settings import DatabaseSettings, SettingsError, load

    try:
        before, after = migrate(load(DatabaseSettings).postgres.url.get_secret_value())
    except SettingsError as error:
        raise CommandFailed(str(error)) from None
    except Unavailable as error:
        raise CommandFailed(error.message) from None
    if as_json:
        show_json({"before": before, "revision": after})
    elif before == after:
        out.print(f"the schema is the newest, revision {after}", markup=False)
    else:
        out.print(f"from {before or 'nothing'} to revision {after}", markup=False)


@app.command(epilog=SQL)
def sql(
    *,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REVISION",
            help="The revision in the database's table alembic_version. Default: an empty database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the SQL of `hotswap db migrate` for psql, as one transaction, without a connection to a database."""
    need("server")
    from alembic.util import CommandError

    from hotswap.persistence.migrations import write_script

    written = io.StringIO()  # nobody shall pipe half a script into psql
    try:
        write_script(written, since=since)
    except CommandError as error:
        raise CommandFailed(f"{error}; the table alembic_version has the revision of a database") from None
    print(written.getvalue(), end="")  # noqa: T201 - for psql, not for a person
