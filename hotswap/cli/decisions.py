"""`hotswap approve`, `promote`, `abort`, `rollback`: what a person says to a deployment."""

from typing import Annotated

import typer

from hotswap.cli.console import AsJson, connect, err, out, show_json
from hotswap.views import AnswerView

Deployment = Annotated[str, typer.Argument(help="The deployment's id.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the deployment.")]


def approve(
    deployment: Deployment,
    *,
    reason: Reason = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="The wait that is meant; the present one when absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Approve the start that waits."""
    with connect() as hotswap:
        _show(hotswap.approve(deployment, reason=reason, step=step), as_json=as_json)


def promote(
    deployment: Deployment,
    *,
    full: Annotated[bool, typer.Option("--full", help="Go to 100% at once.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """End the present bake as passed."""
    with connect() as hotswap:
        _show(hotswap.promote(deployment, reason=reason, full=full), as_json=as_json)


def abort(deployment: Deployment, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Take all traffic from the candidate, and end. Recorded even where no worker answers."""
    with connect() as hotswap:
        _show(hotswap.abort(deployment, reason=reason), as_json=as_json)


def rollback(deployment: Deployment, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Undo a deployment, while it runs or after."""
    with connect() as hotswap:
        answer = hotswap.rollback(deployment, reason=reason)
    _show(answer, as_json=as_json)
    if answer.deployment_id != deployment and not as_json:
        err.print(f"follow it with `hotswap watch {answer.deployment_id}`", markup=False, soft_wrap=True)


def _show(answer: AnswerView, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
    else:
        out.print(f"{answer.deployment_id} {answer.status}: {answer.message}", markup=False, soft_wrap=True)
