"""Models and their versions: register, list, look up."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import MAKERS, admitted_in
from api.context import Reader, Starter, With
from api.limits import LIMITED
from api.paging import CursorNumber, Instant, Paged, Plain
from api.parameters import ModelId, QueryWord, VersionId
from api.presentation import lineage_view, model_view, version_view
from api.routing import GuardedRoute
from hotswap.domain.errors import HotSwapError
from hotswap.domain.ids import registration_workflow_id
from hotswap.domain.registry import WantedModels
from hotswap.domain.vocabulary import Environment, Framework, ModelType, VersionStatus
from hotswap.registry.workflows import registration_path
from hotswap.schemas.requests import RegisterVersion, Time
from hotswap.schemas.responses import (
    LineageView,
    ModelView,
    Page,
    ProblemView,
    RegistrationStatus,
    RegistrationView,
    ServedView,
    VersionView,
)

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=GuardedRoute)


@router.post(
    "",
    status_code=201,
    response_model=VersionView | RegistrationView,
    responses={
        201: {"model": VersionView, "description": "registered"},
        202: {"model": RegistrationView, "description": "takes longer; Location says how far it is"},
        **LIMITED,
    },
)
async def register_version(
    caller: Starter, parts: With, body: RegisterVersion, response: Response
) -> VersionView | RegistrationView:
    """Register a version, and its model with the first one. The artifact is fetched, hashed and inspected."""
    held_to = None
    if caller.has_teams:
        team = await parts.registrations.team_of(body)
        admitted_in(team, caller, MAKERS)
        held_to = None if caller.roles & frozenset(MAKERS) else team
    await parts.limits.check_registration(caller.subject, response)
    registered = await parts.registrations.register(body, by=caller.subject, held_to=held_to)
    if registered is None:
        response.status_code = 202
        response.headers["Location"] = registration_path(body.name, body.version)
        return _registration(body.name, body.version, RegistrationStatus.RUNNING)
    response.headers["Location"] = f"/api/v1/models/{body.name}/versions/{body.version}"
    return version_view(registered)


@router.get("")
async def list_models(
    _: Reader,
    parts: With,
    paging: Paged,
    framework: Annotated[Framework | None, Query()] = None,
    type: Annotated[ModelType | None, Query()] = None,  # noqa: A002 - the API's word
    team: QueryWord = None,
    owner: QueryWord = None,
    tag: QueryWord = None,
    name: Annotated[QueryWord, Query(description="those whose name has this in it")] = None,
    archived: Annotated[bool, Query(description="those that are out of use, instead of those in use")] = False,
) -> Page[ModelView]:
    """Return the models in use, or the archived ones, newest first."""
    wanted = WantedModels(framework, type, team, owner, tag, name, archived)
    found = await parts.registry.models(wanted, paging.window("models", Instant, Plain))
    return paging.page("models", [model_view(row) for row in found.items], found)


@router.get("/{model}")
async def get_model(_: Reader, parts: With, model: ModelId) -> ModelView:
    """Return one model, with its active version in each environment."""
    return model_view(await parts.registry.model(model))


@router.get("/{model}/history")
async def list_what_served(
    _: Reader,
    parts: With,
    paging: Paged,
    model: ModelId,
    environment: Annotated[Environment | None, Query()] = None,
    at: Annotated[Time | None, Query(description="only what served then; with its time zone")] = None,
) -> Page[ServedView]:
    """Return the versions that have served, and who activated each of them, newest first."""
    window = paging.window("history", Instant, CursorNumber)
    found = await parts.activation_history.history(model, environment=environment, at=at, window=window)
    return paging.page("history", [ServedView.model_validate(asdict(served)) for served in found.items], found)


@router.get("/{model}/versions")
async def list_versions(
    _: Reader,
    parts: With,
    model: ModelId,
    paging: Paged,
    status: Annotated[list[VersionStatus] | None, Query(description="one of these; may be given several times")] = None,
) -> Page[VersionView]:
    """Return the versions of a model, newest first by semantic version."""
    window = paging.window("versions", Plain)
    found = await parts.registry.listed_versions(model, statuses=status or (), window=window)
    return paging.page("versions", [version_view(row) for row in found.items], found)


@router.get("/{model}/versions/{version}")
async def get_version(_: Reader, parts: With, model: ModelId, version: VersionId) -> VersionView:
    """Return one version, by its number, its id or an alias."""
    return version_view(await parts.registry.version(model, version))


@router.get("/{model}/versions/{version}/registration")
async def get_registration(_: Reader, parts: With, model: ModelId, version: VersionId) -> RegistrationView:
    """Return how far a registration is that was answered with 202, and why it failed if it did."""
    return _registration(model, version, await parts.registrations.status(model, version))


@router.get("/{model}/versions/{version}/lineage")
async def get_lineage(_: Reader, parts: With, model: ModelId, version: VersionId) -> LineageView:
    """Return what a version was made from, and what was made from it, over all generations."""
    row = await parts.registry.version(model, version)
    return lineage_view(row, await parts.lineage.of(row.version.version_id))


def _registration(model: str, version: str, state: RegistrationStatus | HotSwapError) -> RegistrationView:
    error = state if isinstance(state, HotSwapError) else None
    details = error.details if error is not None else ()
    return RegistrationView(
        model=model,
        version=version,
        status=RegistrationStatus.FAILED if isinstance(state, HotSwapError) else state,
        workflow_id=registration_workflow_id(model, version),
        code=error.code if error is not None else None,
        message=error.message if error is not None else None,
        details=[ProblemView(field=problem.field, message=problem.message) for problem in details],
    )
