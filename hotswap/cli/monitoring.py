"""`hotswap monitoring` and `hotswap alerts`: what is watched of a model once it serves, and what was found."""

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
        typer.Option(help="What is done when it predicts worse than before: alert, or rollback as well."),
    ] = None,
    accuracy_drop: Annotated[
        float | None, typer.Option(help="How much worse is too much, as a share of the accuracy before.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Outcomes that it takes, before and since.")] = None,
    drift: Annotated[bool | None, typer.Option("--drift/--no-drift", help="Whether drift is worth an alert.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is watched of a model once it serves, or change what is given."""
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
    model: Annotated[str | None, typer.Option(help="Only this model's.")] = None,
    environment: Annotated[Environment | None, typer.Option(help="Only this environment's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what was found of active versions: open alerts, or all."""
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
