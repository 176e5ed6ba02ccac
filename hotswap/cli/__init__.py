"""The command line: `hotswap`, one file per group of commands, all of them over the public client.

Exit codes are a contract: 0 it was done, 1 it was not, 2 it was not understood, 130 interrupted. What goes wrong is
said on stderr in one line with what to do next, never as a traceback unless it is a bug; what was asked for is on
stdout, as a table for people or with `--json` as JSON for programs. Colour only where there is a terminal.
"""

import sys

import typer

from hotswap.cli import decisions, deployments, models, watch
from hotswap.cli.console import ErrorsToldGroup
from hotswap.cli.demo import demo as run_demo
from hotswap.cli.stack import commands as stack_commands

EXAMPLES = """Examples:

hotswap up --detach

hotswap models register fraud-detection 2.0.0 --artifact s3://ml-models/fraud-detection/v2.tar.gz

hotswap deploy fraud-detection --version 2.0.0 --canary-percentage 10 --wait

hotswap watch dep-1a2b3c4d5e6f

hotswap abort dep-1a2b3c4d5e6f --reason "errors at checkout"
"""

app = typer.Typer(
    name="hotswap",
    cls=ErrorsToldGroup,
    help="Puts new versions of machine-learning models into production without an outage.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames would show tokens
    context_settings={"help_option_names": ["-h", "--help"]},
)

STACK, WORK, STEER = "The embedded stack", "Models and deployments", "Steering a deployment"


app.command(rich_help_panel=STACK)(stack_commands.up)
app.command(rich_help_panel=STACK)(stack_commands.down)
app.command(rich_help_panel=STACK)(stack_commands.stop)
app.command(rich_help_panel=STACK)(stack_commands.start)
app.command(rich_help_panel=STACK)(stack_commands.env)
app.command(rich_help_panel=STACK)(run_demo)
app.add_typer(models.app, name="models", rich_help_panel=WORK)
app.command(rich_help_panel=WORK, epilog=deployments.DEPLOY_EXAMPLES)(deployments.deploy)
app.command(rich_help_panel=WORK)(deployments.get)
app.command(rich_help_panel=WORK)(watch.watch)
app.command(rich_help_panel=STEER)(decisions.approve)
app.command(rich_help_panel=STEER)(decisions.promote)
app.command(rich_help_panel=STEER)(decisions.abort)
app.command(rich_help_panel=STEER)(decisions.rollback)


def main() -> None:
    """The `hotswap` command."""
    sys.exit(app())
