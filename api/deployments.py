"""Routes that start, list and show deployments.

The row is written before the workflow starts, so that a crash between the two loses nothing: asking again under the
same Idempotency-Key starts what was not started, and starts nothing twice. What people say to a deployment that is
under way is in `api/decisions.py`.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from api.auth import MAKERS, admitted_in
from api.context import Reader, Starter, With
from api.errors import invalid
from api.idempotency import KeyName, LeaveOpen
from api.limits import LIMITED
from api.paging import Instant, Paged, Plain
from api.parameters import DeploymentId, QueryWord, Since, Until
from api.permissions import check_may_change, check_may_hurry
from api.routing import GuardedRoute
from hotswap.deployments.request import with_defaults
from hotswap.deployments.views import accepted, deployment_view
from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import NewDeployment, WantedDeployments
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.schemas.requests import CreateDeployment, says_resources, split_resources
from hotswap.schemas.responses import Accepted, DeploymentView, DryRunView, Page
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import Settings

router = APIRouter(prefix="/api/v1/deployments", tags=["deployments"], route_class=GuardedRoute)

IsDryRun = Annotated[bool, Query(alias="dryRun", description="start nothing; answer what a start would do")]


@router.post(
    "",
    status_code=202,
    responses={
        200: {"model": DryRunView, "description": "a dry run: nothing was started"},
        404: {"description": "there is no such model, or no such version of it"},
        **LIMITED,
    },
)
async def create_deployment(
    caller: Starter,
    parts: With,
    body: CreateDeployment,
    response: Response,
    key: KeyName,
    leave_open: LeaveOpen,
    is_dry_run: IsDryRun = False,
) -> Accepted | DryRunView:
    """Start a deployment, or let it wait for its turn. It goes on by itself; `Location` is its address."""
    version = body.version or body.version_id
    async with parts.registrations.explaining(body.model_id, version):
        if caller.has_teams:
            caller = admitted_in(await parts.teams.of(model=body.model_id), caller, MAKERS)
        check_may_change(caller, body.environment)
        if body.emergency:
            check_may_hurry(caller)
        strategy = body.strategy or parts.settings.deployments.default_strategy
        config, resources = plan(body, strategy, parts.settings)
        new = NewDeployment(
            model=body.model_id,
            version=version,
            environment=body.environment,
            strategy=strategy,
            strategy_config=config.model_dump(mode="json", by_alias=True),
            resources=resources,
            initiated_by=caller.subject,
            idempotency_key=key,
            on_conflict=body.on_conflict,
            start_at=body.start_at,
            accept_contract_change=body.accept_contract_change,
            emergency=body.reason if body.emergency else None,
            says_resources=says_resources(body.strategy_config, body.resources),
        )
        if is_dry_run:
            response.status_code = 200
            return await parts.dry_run.run(new)
        await parts.limits.check_deployment(caller.subject, response)
        started = await parts.starter.start(new)
        if not started.under_way:
            leave_open()
        response.headers["Location"] = f"/api/v1/deployments/{started.deployment.deployment_id}"
        return accepted(started.deployment)


@router.get("")
async def list_deployments(
    _: Reader,
    parts: With,
    paging: Paged,
    model: Annotated[
        str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the model's id or its name")
    ] = None,
    version: Annotated[QueryWord, Query(description="the version's number")] = None,
    environment: Annotated[Environment | None, Query()] = None,
    status: Annotated[list[DeploymentStatus] | None, Query(description="a status; may be given several times")] = None,
    kind: Annotated[DeploymentKind | None, Query()] = None,
    initiated_by: Annotated[QueryWord, Query(alias="initiatedBy")] = None,
    since: Since = None,
    until: Until = None,
) -> Page[DeploymentView]:
    """Return the deployments, newest first, without verdicts; `GET /deployments/{id}` has these."""
    wanted = WantedDeployments(model, version, environment, status or (), kind, initiated_by, since, until)
    found = await parts.deployments.deployments(wanted, paging.window("deployments", Instant, Plain))
    return paging.page("deployments", [deployment_view(row) for row in found.items], found)


@router.get("/{deployment_id}")
async def get_deployment(_: Reader, parts: With, deployment_id: DeploymentId) -> DeploymentView:
    """Return the deployment's status, its verified share of the traffic, and the verdicts so far."""
    return deployment_view(await parts.deployments.deployment(deployment_id))


def plan(body: CreateDeployment, strategy: Strategy, settings: Settings) -> tuple[CanaryConfig, ReplicaResources]:
    """Return the strategy's configuration, completed from the settings, and the replicas' resources.

    Raises ValidationFailed naming the field.
    """
    if strategy is not Strategy.CANARY:
        raise ValidationFailed.of("strategy", f"{strategy} is not supported yet; use Canary")
    try:
        given, resources = split_resources(body.strategy_config, body.resources)
        config = with_defaults(CanaryConfig.model_validate(given), settings)
    except ValidationError as error:
        raise invalid(error, within="strategyConfig") from None
    config.check()  # raises for a plan of too many steps as well
    config.check_scale(resources)
    return config, resources
