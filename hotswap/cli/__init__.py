"""The command line: `hotswap`, one file per group of commands, all of them over the public client.

Exit codes are a contract: 0 it was done, 1 it was not, 2 it was not understood, 130 interrupted; those of a deployment
that was followed to its end are in `hotswap.cli.outcome`. What goes wrong is said on stderr in one line with what to do
next, never as a traceback unless it is a bug; what was asked for is on stdout, as a table for people or with `--json`
as JSON for programs. Color only where there is a terminal, and not where NO_COLOR is set.

Importing this package imports nothing else: `app` in it is the module of that name, and who wants another module of it
doesn't wait for all commands.
"""

import sys


def main() -> None:
    """Run the `hotswap` command."""
    from hotswap.cli.app import app

    sys.exit(app())
