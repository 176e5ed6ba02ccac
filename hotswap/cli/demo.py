"""`hotswap demo`, without what it needs: the libraries that train the models are an extra."""

from pathlib import Path
from typing import Annotated

import typer

from hotswap.cli.console import CommandFailed
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson


def demo(
    *,
    port_base: Annotated[int | None, typer.Option(help="Move all ports of its stack to this one and up.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep its data here instead of in a temporary place.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="With --data-dir: leave the stack running afterwards.")] = False,
    as_json: AsJson = False,
) -> None:
    """Do the main job once, in front of you: deploy, canary, kill the worker, catch a broken version.

    Prints a table of what it claims and saw, and one line of JSON, with --json only this; exits 0 only if all of it is
    true.
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
