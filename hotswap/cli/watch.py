"""`hotswap watch`: a deployment as it goes, until it has ended.

In a terminal one live picture: steps, verified weight, both arms' error rates, time left. Elsewhere one line per
change, so that a log tells the same story. An API that is away for a while is waited for: the deployment goes on
without it, and so does who watches.
"""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from hotswap.cli import outcome
from hotswap.cli.console import connect, err, facts, out, show_json, table
from hotswap.cli.options import AsJson, DeploymentArgument, TimeoutOption
from hotswap.client import ApiError, HotSwap
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.responses import ArmView, DeploymentView, StepState, StepView, VerdictView

INTERVAL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0

_COLOR = {
    DeploymentStatus.ACTIVE: "green",
    DeploymentStatus.ROLLING_BACK: "red",
    DeploymentStatus.ROLLED_BACK: "red",
    DeploymentStatus.FAILED: "red",
    DeploymentStatus.CANCELLED: "yellow",
    DeploymentStatus.AWAITING_APPROVAL: "yellow",
}
_MARK = {StepState.DONE: "done", StepState.CURRENT: "now", StepState.WAITING: ""}


def watch(
    deployment: DeploymentArgument,
    *,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Follow a deployment until it ends. With --json print one document per change."""
    with connect() as hotswap:
        ended = follow(hotswap, deployment, timeout=timeout, as_json=as_json)
    raise typer.Exit(outcome.forward(ended))


def follow(hotswap: HotSwap, deployment_id: str, *, timeout: timedelta | None, as_json: bool) -> DeploymentView:
    """Show every change until the deployment's end, and return it; exit if the time is over first."""
    again = f"the deployment goes on; `hotswap watch {deployment_id}` follows it again"
    seen = _seen(hotswap, deployment_id, timeout=timeout)
    try:
        if as_json:
            last = _each(seen, show_json)
        elif out.is_terminal:
            last = _live(seen)
        else:
            last = _each(seen, _Lines())
    except KeyboardInterrupt:
        err.print(again, markup=False, soft_wrap=True)
        raise typer.Exit(outcome.Exit.INTERRUPTED) from None
    if not last.status.is_terminal:
        assert timeout is not None
        late = f"hotswap: {deployment_id} is still {last.status} after {timeout.total_seconds():g} s"
        err.print(f"{late}; {again}", markup=False, soft_wrap=True)
        raise typer.Exit(outcome.Exit.TIMED_OUT)
    return last


def report(seen: DeploymentView, *, now: datetime | None = None) -> RenderableType:
    """Return one deployment for a person: its version and status, how far it is, and its figures."""
    color = _COLOR.get(seen.status, "cyan")
    head = Text.from_markup(
        f"[bold]{escape(seen.model)} {escape(seen.version)}[/] to {seen.environment}  [bold {color}]{seen.status}[/]"
    )
    parts: list[RenderableType] = [
        head,
        facts(
            ("deployment", seen.deployment_id),
            ("workflow", seen.workflow_id),
            ("said", seen.message),
            ("place in line", seen.queue_position),
            ("reason", seen.reason),
            ("emergency", seen.emergency),
            ("previous", seen.previous_version),
            ("traffic", f"{seen.traffic_percentage:g}% verified"),
            ("time left", time_left(seen, now=now or datetime.now(UTC))),
        ),
    ]
    if seen.validation is not None and not seen.validation.passed:
        parts += [
            Text(f"  failed check: {each.name}: {each.detail}")
            for each in seen.validation.checks
            if each.passed is False
        ]
    if seen.backtest is not None:
        parts += [Text(f"  backtest: {each}") for each in (seen.backtest.summary, *seen.backtest.findings)]
    verdicts = {each.step: each for each in seen.analysis}
    rows = [_row(step, verdicts.get(step.number)) for step in seen.steps]
    parts += [Text(), table("STEP", "WEIGHT", "", "CANDIDATE ERRORS", "STABLE ERRORS", "REFUSED", "VERDICT", rows=rows)]
    return Group(*parts)


def time_left(seen: DeploymentView, *, now: datetime) -> str | None:
    """Return the time left in the present bake, and in it and those after it if all pass; None outside of a bake."""
    if seen.bake_ends_at is None or seen.current_step is None:
        return None
    present = max(0.0, (seen.bake_ends_at - now).total_seconds())
    after = sum(step.bake_seconds for step in seen.steps[seen.current_step :])
    return f"{_seconds(present)} in this step, {_seconds(present + after)} in all"


class _Lines:
    """One line per change of what matters, not of every figure."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()

    def __call__(self, seen: DeploymentView) -> None:
        verdict = next((each for each in seen.analysis if each.step == seen.current_step), None)
        step = f"step {seen.current_step}/{len(seen.steps)}" if seen.current_step is not None else None
        said = seen.message or ""
        key = (seen.status, seen.traffic_percentage, seen.current_step, said, verdict.outcome if verdict else None)
        if key == self._last:
            return
        self._last = key
        words = [f"{datetime.now(UTC):%H:%M:%S}", str(seen.status), f"{seen.traffic_percentage:g}%", step, said]
        if verdict is not None:
            words.append(
                f"[{verdict.outcome}; errors: candidate {_errors(verdict.candidate)}, stable {_errors(verdict.stable)}"
                + (f"; refused: {refused}]" if (refused := _refused(verdict)) is not None else "]")
            )
        out.print("  ".join(word for word in words if word), markup=False, soft_wrap=True)


def _each(changes: Iterator[DeploymentView], show: Any) -> DeploymentView:
    last: DeploymentView | None = None
    for seen in changes:
        if seen != last:
            show(seen)
        last = seen
    assert last is not None
    return last


def _live(changes: Iterator[DeploymentView]) -> DeploymentView:
    last: DeploymentView | None = None
    with Live(console=out, refresh_per_second=4, transient=False) as live:
        for seen in changes:
            live.update(report(seen))
            last = seen
    assert last is not None
    return last


def _seen(hotswap: HotSwap, deployment_id: str, *, timeout: timedelta | None) -> Iterator[DeploymentView]:
    """Yield the deployment at each poll, until it has ended or the time is over; wait for an API that is away."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout.total_seconds()
    away_since: float | None = None
    while True:
        try:
            seen = hotswap.deployments.get(deployment_id)
        except ApiError as error:
            is_away = error.status in {0, 502, 503, 504}
            away_since = away_since or time.monotonic()
            if not is_away or time.monotonic() > min(away_since + PATIENCE_SECONDS, deadline):
                raise
        else:
            away_since = None
            yield seen
            if seen.status.is_terminal or time.monotonic() > deadline:
                return
        time.sleep(INTERVAL_SECONDS)


def _row(step: StepView, verdict: VerdictView | None) -> tuple[object, ...]:
    said = None if verdict is None else f"{verdict.outcome}: {verdict.message}"
    candidate = None if verdict is None else _errors(verdict.candidate)
    stable = None if verdict is None else _errors(verdict.stable)
    return (step.number, f"{step.weight:g}%", _MARK[step.state], candidate, stable, _refused(verdict), said)


def _errors(arm: ArmView) -> str:
    return f"{arm.error_rate:.2%} ({arm.errors}/{arm.requests})"


def _refused(verdict: VerdictView | None) -> str | None:
    """Return how many requests each arm refused, candidate first; None if neither refused any."""
    if verdict is None or not (verdict.candidate.refused or verdict.stable.refused):
        return None
    return f"candidate {verdict.candidate.refused}, stable {verdict.stable.refused}"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
