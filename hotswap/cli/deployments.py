"""`hotswap deploy`, also as a dry run, and `hotswap get`."""

from datetime import datetime
from typing import Annotated

import typer

from hotswap.cli import dry_run, outcome
from hotswap.cli.console import connect, err, out, show_json, show_table, table
from hotswap.cli.options import (
    AsJson,
    ModelArgument,
    TimeoutOption,
    WaitOption,
    check_timeout,
    given,
    json_object,
    moment,
)
from hotswap.cli.watch import follow, report
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import Environment, OnConflict, Strategy
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import DeploymentView


def deploy(
    model: ModelArgument,
    *,
    version: Annotated[str | None, typer.Option(help="Which version; the newest deployable one when absent.")] = None,
    environment: Annotated[Environment, typer.Option(help="Where to.")] = Environment.PRODUCTION,
    strategy: Annotated[Strategy | None, typer.Option(help="How; the server's default when absent.")] = None,
    config: Annotated[
        str | None, typer.Option(help="The strategy's configuration: JSON, or @FILE.", show_default=False)
    ] = None,
    canary_percentage: Annotated[float | None, typer.Option(help="The first weight, in percent.")] = None,
    increment_step: Annotated[float | None, typer.Option(help="How much more each step gives, in percent.")] = None,
    monitoring_duration: Annotated[str | None, typer.Option(help="How long each step bakes, such as PT5M.")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="How many replicas all of the traffic needs.")] = None,
    min_replicas: Annotated[
        int | None, typer.Option(min=1, help="With --max-replicas: scale by load between the two.")
    ] = None,
    max_replicas: Annotated[int | None, typer.Option(min=1, help="With --min-replicas.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each replica; fractions below 1.")] = None,
    cpus: Annotated[float | None, typer.Option(min=0, help="CPUs of each replica.")] = None,
    max_batch_size: Annotated[
        int | None, typer.Option(min=2, help="Gather so many single requests at most into one call of the model.")
    ] = None,
    batch_wait: Annotated[
        str | None, typer.Option(help="With --max-batch-size: how long the first waits for others, such as PT0.01S.")
    ] = None,
    on_conflict: Annotated[
        OnConflict | None,
        typer.Option(help="While another of the model is under way there: be refused, wait, or take its place."),
    ] = None,
    start_at: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Start then, such as 2026-12-27T06:00:00Z; now when absent."),
    ] = None,
    accept_contract_change: Annotated[
        bool,
        typer.Option(
            "--accept-contract-change",
            help="Let it refuse requests that what serves takes, or answer otherwise; clients are ready for it.",
        ),
    ] = False,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency",
            help="Go to 100% without a bake: what serves is down and this is the fix; with --reason.",
        ),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="With --emergency: why it can't wait; it is audited.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Asking again with the same key starts no second deployment.")
    ] = None,
    only_look: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing; show the steps, and what differs from what serves now.")
    ] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Start a deployment and print its id; it goes on by itself. A dry run that would be refused exits with 1."""
    check_timeout(timeout, wait=wait)
    if emergency != (reason is not None):
        raise typer.BadParameter("--emergency and --reason come together: why can't it wait for its bakes?")
    if only_look and wait:
        raise typer.BadParameter("--wait has nothing to wait for in a --dry-run: it starts nothing")
    chosen = given(
        canaryPercentage=canary_percentage, incrementStep=increment_step, monitoringDuration=monitoring_duration
    )
    resources = given(
        replicas=replicas,
        minReplicas=min_replicas,
        maxReplicas=max_replicas,
        gpus=gpus,
        cpus=cpus,
        maxBatchSize=max_batch_size,
        batchWait=batch_wait,
    )
    request = CreateDeployment(
        **given(
            model_id=model,
            version=version,
            environment=environment,
            strategy=strategy,
            strategy_config={**(json_object(config, name="--config") if config else {}), **chosen},
            resources=resources or None,
            on_conflict=on_conflict,
            start_at=start_at,
            accept_contract_change=accept_contract_change or None,
            emergency=emergency or None,
            reason=reason,
        )
    )
    with connect() as hotswap:
        if only_look:
            raise typer.Exit(dry_run.show(hotswap.deployments.dry_run(request), as_json=as_json))
        accepted = hotswap.deployments.start(request, idempotency_key=idempotency_key)
        if not wait:
            if as_json:
                show_json(accepted)
            else:
                out.print(accepted.deployment_id, markup=False)
                waits = f" {accepted.message};" if accepted.message else ""
                err.print(
                    f"{accepted.model} {accepted.version} to {accepted.environment};{waits} follow it with "
                    f"`hotswap watch {accepted.deployment_id}`",
                    markup=False,
                    soft_wrap=True,
                )
            return
        if not as_json:
            out.print(accepted.deployment_id, markup=False)
        ended = follow(hotswap, accepted.deployment_id, timeout=timeout, as_json=as_json)
    raise typer.Exit(outcome.forward(ended))


def get(
    deployment: Annotated[
        str | None, typer.Argument(help="A deployment's id; without one the newest are listed.", show_default=False)
    ] = None,
    *,
    model: Annotated[str | None, typer.Option(help="List only this model's.")] = None,
    environment: Annotated[Environment | None, typer.Option(help="List only this environment's.")] = None,
    status: Annotated[DeploymentStatus | None, typer.Option(help="List only those that are so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show one deployment, or list the newest."""
    with connect() as hotswap:
        if deployment is not None:
            one = hotswap.deployments.get(deployment)
            if as_json:
                show_json(one)
            else:
                show_table(report(one))
            return
        page = hotswap.deployments.list(
            model=model,
            environment=environment.value if environment else None,
            status=status.value if status else None,
            limit=limit,
        )
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.deployment_id,
            each.model,
            each.version,
            each.environment,
            _state(each),
            f"{each.traffic_percentage:g}%",
            each.reason,
            f"{each.started_at:%Y-%m-%d %H:%M:%S}",
        )
        for each in page.items
    ]
    show_table(
        table("DEPLOYMENT", "MODEL", "VERSION", "ENVIRONMENT", "STATUS", "TRAFFIC", "REASON", "STARTED", rows=rows)
    )


def _state(each: DeploymentView) -> str:
    place = "" if each.queue_position is None else f", number {each.queue_position} in line"
    return f"{each.status}{place}{'' if each.emergency is None else ', emergency'}"
