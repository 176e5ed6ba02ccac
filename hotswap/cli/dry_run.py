"""Output of `hotswap deploy --dry-run`: what would happen, what differs, and what would refuse it."""

import json
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from hotswap.cli.console import facts, show_json, show_table, table
from hotswap.cli.outcome import Exit
from hotswap.domain.strategy import OnLimit
from hotswap.schemas.responses import DryRunView, GpuSumView, PauseView, StepView


def show(seen: DryRunView, *, as_json: bool) -> Exit:
    """Show what would happen; the exit code tells a pipeline whether it would be accepted."""
    if as_json:
        show_json(seen)
    else:
        show_table(report(seen))
    return Exit.DONE if seen.would_be_accepted else Exit.NOT_DONE


def report(seen: DryRunView) -> RenderableType:
    serving = seen.serving
    head = Text.from_markup(
        f"[bold]{escape(seen.model)} {escape(seen.version)}[/] to {seen.environment}, by {seen.strategy}  "
        + ("[bold green]would be accepted[/]" if seen.would_be_accepted else "[bold red]would be refused[/]")
    )
    parts: list[RenderableType] = [
        head,
        *(Text(f"  {refusal.code}: {refusal.message}") for refusal in seen.refusals),
        facts(
            ("serves now", f"{serving.version}, by {serving.deployment_id}" if serving else "nothing: it is the first"),
            ("approval", "needed" if seen.approval_required else "not needed"),
            ("takes", _range(seen.least_seconds, seen.most_seconds)),
            ("of it backtest", f"up to {timedelta(seconds=seen.backtest_seconds)}" if seen.backtest_seconds else None),
            ("gpus", _gpus(seen.gpus)),
            *([("capacity", seen.capacity)] if seen.capacity else []),
        ),
        Text(),
        table("STEP", "WEIGHT", "BAKE", "", "PAUSE", rows=[_step(step) for step in seen.steps]),
    ]
    if serving is not None:
        if seen.contract:
            changes = [("narrower" if each.narrows else "", each.field, each.message) for each in seen.contract]
            parts += [Text(), table("CONTRACT", "FIELD", "CHANGE", rows=changes)]
        rows = [(each.path, _value(each.now), _value(each.then)) for each in seen.differences]
        parts += [Text(), table("DIFFERS", "NOW", "THEN", rows=rows) if rows else Text("nothing differs")]
    return Group(*parts)


def _gpus(gpus: GpuSumView) -> str:
    if gpus.peak == 0:
        return "none"
    return f"{gpus.candidate:g} beside {gpus.stable:g} of the stable: {gpus.peak:g} at the peak"


def _step(step: StepView) -> tuple[object, ...]:
    judged = "judged" if step.judged else "not judged"
    return (step.number, f"{step.weight:g}%", _seconds(step.bake_seconds), judged, _pause(step.pause))


def _pause(pause: PauseView | None) -> str | None:
    if pause is None:
        return None
    if pause.limit_seconds is None:
        return "for an approval"
    then = "goes back" if pause.on_limit is OnLimit.ABORT else "goes on"
    return f"for an approval; after {_seconds(pause.limit_seconds)} it {then}"


def _range(least: float, most: float | None) -> str:
    if most is None:
        return f"{_seconds(least)} and as long as people pause"
    return _seconds(least) if least == most else f"{_seconds(least)} to {_seconds(most)}"


def _seconds(seconds: float) -> str:
    return str(timedelta(seconds=seconds))


def _value(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
