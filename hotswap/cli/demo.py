"""`hotswap demo`, without what it needs: the libraries that train the models are an extra."""

from pathlib import Path
from typing import Annotated

import typer

from hotswap.cli.console import CommandFailed
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson


def demo(
    *,
    port_base: Annotated[
        int | None, typer.Option(help="Use ports from this one on, instead of the default ports.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here, instead of in a temporary directory.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards; needs --data-dir.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the main job on real servers: deploy, canary, kill the worker, catch a broken version.

    It prints a table of claims and observations, and the same as one line of JSON; with --json only the latter. The
    exit code is 0 if all claims hold.
    """
    need("server", "embedded")
    try:
        from hotswap.demo.run import run
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"the demo needs the extra `demo`, since there is no module {error.name}: pip install 'hotswap[demo]'"
        ) from None
    if not run(port_base=port_base, data_dir=data_dir, keep=keep, table=not as_json):
        raise typer.Exit(1)
