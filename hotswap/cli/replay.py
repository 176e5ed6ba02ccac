"""`hotswap replay`: a past deployment judged again under another policy, from its recorded observations."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from hotswap.cli.console import connect, out, show_json, show_table, table
from hotswap.cli.options import AsJson, DeploymentArgument, json_object


def replay(
    deployment: DeploymentArgument,
    *,
    with_policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the fields of the strategy's configuration to change: JSON, or TOML if its name ends so.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a past deployment again under another policy, and show where it would have ended. Starts nothing."""
    config = policy(with_policy) if with_policy is not None else {}
    with connect() as hotswap:
        seen = hotswap.deployments.replay(deployment, config)
    if as_json:
        show_json(seen)
        return
    rows = [
        (each.step, f"{each.weight:g}%", f"{each.begun_at:%H:%M:%S}", each.recorded, each.end, each.message)
        for each in seen.steps
    ]
    show_table(table("STEP", "WEIGHT", "BEGUN", "RECORDED", "REPLAYED", "", rows=rows))
    if old := ", ".join(str(each.step) for each in seen.steps if each.thinned):
        told = f"step {old}: only one observation a minute is left, so its evidence may be weaker than it was"
        out.print(told, markup=False, soft_wrap=True)
    out.print(f"{seen.deployment_id} is {seen.recorded_status}", markup=False, soft_wrap=True)
    out.print(f"under this policy: {seen.end}; {seen.message}", markup=False, soft_wrap=True)


def policy(path: Path) -> dict[str, Any]:
    """Read the policy of `--with-policy`, a file of JSON or TOML. Raises BadParameter."""
    if path.suffix != ".toml":
        return json_object(f"@{path}", name="--with-policy")
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise typer.BadParameter(f"--with-policy: can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"--with-policy: {path} is not TOML: {error}") from None
