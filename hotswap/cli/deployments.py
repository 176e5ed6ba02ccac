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
    version: Annotated[
        str | None, typer.Option(help="The version's number or alias. Default: the newest that can be deployed.")
    ] = None,
    environment: Annotated[Environment, typer.Option(help="The environment to deploy to.")] = Environment.PRODUCTION,
    strategy: Annotated[Strategy | None, typer.Option(help="The rollout strategy. Default: the server's.")] = None,
    config: Annotated[
        str | None, typer.Option(help="The strategy's configuration, as JSON or as @FILE.", show_default=False)
    ] = None,
    canary_percentage: Annotated[
        float | None, typer.Option(help="The candidate's first share of the traffic, in percent.")
    ] = None,
    increment_step: Annotated[
        float | None, typer.Option(help="How much each step adds to the share, in percent.")
    ] = None,
    monitoring_duration: Annotated[
        str | None, typer.Option(help="How long each step is watched, such as PT5M.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="How many replicas serve all of the traffic.")] = None,
    min_replicas: Annotated[
        int | None, typer.Option(min=1, help="Scale by load, with at least this many; needs --max-replicas.")
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option(min=1, help="Scale by load, with at most this many; needs --min-replicas.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each replica; a fraction below 1 shares a GPU.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(min=0, help="CPUs of each replica.")] = None,
    max_batch_size: Annotated[
        int | None,
        typer.Option(min=2, help="Let a replica gather up to this many single requests into one call of the model."),
    ] = None,
    batch_wait: Annotated[
        str | None,
        typer.Option(
            help="How long the first request of a batch waits for more, such as PT0.01S; needs --max-batch-size."
        ),
    ] = None,
    on_conflict: Annotated[
        OnConflict | None,
        typer.Option(help="If another deployment of the model is under way there: fail, wait, or replace it."),
    ] = None,
    start_at: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="The earliest start, such as 2026-12-27T06:00:00Z. Default: now."
        ),
    ] = None,
    accept_contract_change: Annotated[
        bool,
        typer.Option(
            "--accept-contract-change",
            help="Accept that the version refuses requests that the active one takes, or answers differently.",
        ),
    ] = False,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency",
            help="Go to 100% at once and unwatched, to fix an outage; needs --reason.",
        ),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why the emergency can't wait; the audit log keeps it.")] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="A key of your own; a repeated command with the same key starts no second deployment."),
    ] = None,
    only_look: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Start nothing; show the steps, what would differ from the active version, and what would refuse it.",
        ),
    ] = False,
    wait: WaitOption = False,
    timeout: TimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Start a deployment and print its id. It goes on by itself.

    With --dry-run, the exit code is 1 if it would be refused.
    """
    check_timeout(timeout, wait=wait)
    if emergency != (reason is not None):
        raise typer.BadParameter("--emergency and --reason belong together: give both, or neither")
    if only_look and wait:
        raise typer.BadParameter("--wait can't be used with --dry-run, which starts nothing to wait for")
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
        str | None, typer.Argument(help="A deployment's id. Default: list the newest deployments.", show_default=False)
    ] = None,
    *,
    model: Annotated[str | None, typer.Option(help="List only this model's.")] = None,
    environment: Annotated[Environment | None, typer.Option(help="List only this environment's.")] = None,
    status: Annotated[DeploymentStatus | None, typer.Option(help="List only deployments with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="The most rows to show.")] = 20,
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
