"""`hotswap monitoring` and `hotswap alerts`: the monitoring of a model once it serves, and its alerts."""

from typing import Annotated

import typer

from hotswap.cli.console import connect, facts, show_json, show_table, table
from hotswap.cli.options import AsJson, ModelArgument, given
from hotswap.domain.monitoring import OnDegraded
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import AlertView


def monitoring(
    model: ModelArgument,
    *,
    on_degraded: Annotated[
        OnDegraded | None,
        typer.Option(help="What to do if it predicts worse than before: only alert, or also roll back."),
    ] = None,
    accuracy_drop: Annotated[
        float | None, typer.Option(help="The drop that raises an alert, as a share of the accuracy before.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="The fewest outcomes before and after the change that a check needs.")
    ] = None,
    drift: Annotated[bool | None, typer.Option("--drift/--no-drift", help="Whether drift raises an alert.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the monitoring of a model once it serves, or change it by the given options."""
    changes = given(onDegraded=on_degraded, accuracyDrop=accuracy_drop, samples=samples, drift=drift)
    with connect() as hotswap:
        policy = hotswap.monitoring.change(model, changes) if changes else hotswap.monitoring.get(model)
    if as_json:
        show_json(policy)
        return
    show_table(
        facts(
            ("model", policy.model),
            ("when it predicts worse", policy.on_degraded.value),
            ("worse is", f"{policy.accuracy_drop:.1%} of what it was, over {policy.samples} outcomes or more"),
            ("drift", "alerts" if policy.drift else "not looked for"),
        )
    )


def alerts(
    *,
    model: Annotated[str | None, typer.Option(help="List only this model's.")] = None,
    environment: Annotated[Environment | None, typer.Option(help="List only this environment's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List resolved alerts, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open alerts about active versions, or all alerts."""
    with connect() as hotswap:
        page = hotswap.monitoring.alerts(
            model=model, environment=environment.value if environment else None, is_open=None if every else True
        )
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.alert_id,
            each.kind,
            f"{each.model} {each.version}",
            each.environment,
            f"{each.since:%Y-%m-%d %H:%M %Z}",
            _state(each),
            each.message,
        )
        for each in page.items
    ]
    show_table(table("ALERT", "KIND", "VERSION", "ENVIRONMENT", "SINCE", "STATE", "MESSAGE", rows=rows))


def _state(alert: AlertView) -> str:
    if alert.resolved_at is not None:
        return f"over: {alert.resolution}"
    if alert.rollback_id is not None:
        return f"rolled back by {alert.rollback_id}"
    return "will be rolled back" if alert.rolls_back else "open"
