"""Commands to a deployment: approve, reject, pause, resume, promote, goto, scale, abort, retry, rollback."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import typer

from hotswap.cli import outcome
from hotswap.cli.console import connect, err, out, show_json
from hotswap.cli.options import AsJson, DeploymentArgument, TimeoutOption, WaitOption, check_timeout
from hotswap.cli.watch import follow
from hotswap.client import HotSwap
from hotswap.schemas.responses import AnswerView, DeploymentView

ReasonOption = Annotated[str | None, typer.Option(help="The reason; it is stored with the deployment.")]

ExitOf = Callable[[DeploymentView], outcome.Exit]


def _verb(name: str, *, judge: ExitOf, summary: str) -> Callable[..., None]:
    """Return the command of a method of `deployments` that takes a reason and no more; `summary` is its help."""

    def command(
        deployment: DeploymentArgument,
        *,
        reason: ReasonOption = None,
        wait: WaitOption = False,
        timeout: TimeoutOption = None,
        as_json: AsJson = False,
    ) -> None:
        _say(
            lambda hotswap: getattr(hotswap.deployments, name)(deployment, reason=reason),
            judge=judge if wait else None,
            timeout=timeout,
            as_json=as_json,
        )

    command.__name__, command.__doc__ = name, summary
    return command


def approve(
    deployment: DeploymentArgument,
    *,
    reason: ReasonOption = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="The step to approve, 0 for the start. Default: the one that waits now.")
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Approve the start or the step that waits for an approval."""
    _say(
        lambda hotswap: hotswap.deployments.approve(deployment, reason=reason, step=step),
        judge=outcome.forward if wait else None,
        timeout=timeout,
        as_json=as_json,
    )


reject = _verb(
    "reject",
    judge=outcome.back,
    summary="Refuse the start or the step that waits for an approval, which ends the deployment.",
)
pause = _verb(
    "pause",
    judge=outcome.forward,
    summary="Keep the candidate's present share of the traffic until `hotswap resume`; harm still rolls it back.",
)
resume = _verb(
    "resume",
    judge=outcome.forward,
    summary="End a pause. The present step begins anew.",
)
abort = _verb(
    "abort",
    judge=outcome.back,
    summary="Take all traffic from the candidate, and end the deployment. It is recorded even if no worker answers.",
)


def goto(
    deployment: DeploymentArgument,
    step: Annotated[int, typer.Argument(min=1, help="The step, counted from 1.", show_default=False)],
    *,
    reason: ReasonOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Go back to a step, or forward to one if that skips no approval."""
    _say(
        lambda hotswap: hotswap.deployments.goto(deployment, step, reason=reason),
        judge=outcome.forward if wait else None,
        timeout=timeout,
        as_json=as_json,
    )


def scale(
    deployment: DeploymentArgument,
    replicas: Annotated[int, typer.Argument(min=1, help="The number of replicas.", show_default=False)],
    *,
    reason: ReasonOption = None,
    as_json: AsJson = False,
) -> None:
    """Set the number of replicas of an active version; if it scales by load, its minimum.

    It is refused if the cluster has no room for them.
    """
    _say(
        lambda hotswap: hotswap.deployments.scale(deployment, replicas, reason=reason),
        judge=None,
        timeout=None,
        as_json=as_json,
    )


def promote(
    deployment: DeploymentArgument,
    *,
    full: Annotated[bool, typer.Option("--full", help="Go to 100% at once, instead of to the next step.")] = False,
    reason: ReasonOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """End the present step as passed, and go on to the next one."""
    _say(
        lambda hotswap: hotswap.deployments.promote(deployment, reason=reason, full=full),
        judge=outcome.forward if wait else None,
        timeout=timeout,
        as_json=as_json,
    )


def retry(
    deployment: DeploymentArgument,
    *,
    reason: ReasonOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Repeat the analysis that holds a deployment; if it has ended without success, deploy its version again."""
    answer = _say(
        lambda hotswap: hotswap.deployments.retry(deployment, reason=reason),
        judge=outcome.forward if wait else None,
        timeout=timeout,
        as_json=as_json,
    )
    _tell_of_another(answer, deployment, as_json=as_json)


def rollback(
    deployment: DeploymentArgument,
    *,
    reason: ReasonOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Undo a deployment: abort it while it runs; once it is active, deploy the version before it again."""

    def undone(ended: DeploymentView) -> outcome.Exit:
        return outcome.back(ended) if ended.deployment_id == deployment else outcome.forward(ended)

    answer = _say(
        lambda hotswap: hotswap.deployments.rollback(deployment, reason=reason),
        judge=undone if wait else None,
        timeout=timeout,
        as_json=as_json,
    )
    _tell_of_another(answer, deployment, as_json=as_json)


def _tell_of_another(answer: AnswerView, deployment: str, *, as_json: bool) -> None:
    if answer.deployment_id != deployment and not as_json:
        err.print(f"follow it with `hotswap watch {answer.deployment_id}`", markup=False, soft_wrap=True)


def _say(
    word: Callable[[HotSwap], AnswerView],
    *,
    judge: ExitOf | None,
    timeout: timedelta | None,
    as_json: bool,
) -> AnswerView:
    """Send the command and show the answer; with a judge, follow the deployment and exit with its code for the end."""
    check_timeout(timeout, wait=judge is not None)
    with connect() as hotswap:
        answer = word(hotswap)
        if judge is None:
            _show(answer, as_json=as_json)
            return answer
        if not as_json:
            _show(answer, as_json=False)
        ended = follow(hotswap, answer.deployment_id, timeout=timeout, as_json=as_json)
    raise typer.Exit(judge(ended))


def _show(answer: AnswerView, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
    else:
        out.print(f"{answer.deployment_id} {answer.status}: {answer.message}", markup=False, soft_wrap=True)
