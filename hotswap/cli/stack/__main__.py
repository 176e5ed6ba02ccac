"""`python -m hotswap.cli.stack up|down|stop|start|env`: the same commands without the rest of the CLI."""

import typer

from hotswap.cli.stack import commands

app = typer.Typer(add_completion=False, no_args_is_help=True)
for command in (commands.up, commands.down, commands.stop, commands.start, commands.env):
    app.command()(command)

if __name__ == "__main__":
    app()
