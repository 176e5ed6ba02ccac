"""Models and their versions: register, list, look up."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import MAKERS, admitted_in
from api.context import Reader, Starter, With
from api.limits import LIMITED
from api.orchestration import registration_path
from api.paging import CursorNumber, Instant, Paged, Plain
from api.parameters import ModelId, QueryWord, VersionId
from api.presentation import lineage_view, model_view, version_view
from api.routing import GuardedRoute
from hotswap.domain.access import Principal
from hotswap.domain.errors import Conflict, HotSwapError, ModelNotFound, ValidationFailed, VersionNotFound
from hotswap.domain.ids import registration_workflow_id
from hotswap.domain.registry import WantedModels
from hotswap.domain.vocabulary import Environment, Framework, ModelType, VersionStatus
from hotswap.messages import RegistrationInput
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
    held_to = await _only_team(parts, body, caller) if caller.has_teams else None
    await parts.limits.check_registration(caller.subject, response)
    if await _exists(parts, body.name, body.version):
        raise Conflict(
            f"{body.name} {body.version} is registered already; a version never changes, so register a new one"
        )
    derived_from = await _parents(parts, body)
    registration = body.registration(requested_by=caller.subject, derived_from=derived_from, held_to=held_to)
    registered = await parts.orchestration.register(RegistrationInput(registration=registration))
    if registered is None:
        response.status_code = 202
        response.headers["Location"] = registration_path(body.name, body.version)
        return _registration(body.name, body.version, RegistrationStatus.RUNNING)
    response.headers["Location"] = f"/api/v1/models/{body.name}/versions/{body.version}"
    return version_view(await parts.registry.version(body.name, body.version))


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
    """The models in use, or those that were archived; the newest first."""
    wanted = WantedModels(framework, type, team, owner, tag, name, archived)
    found = await parts.registry.models(wanted, paging.window("models", Instant, Plain))
    return paging.page("models", [model_view(row) for row in found.items], found)


@router.get("/{model}")
async def get_model(_: Reader, parts: With, model: ModelId) -> ModelView:
    """One model, with what is active of it in each environment."""
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
    """What has served and who put it there, the newest first."""
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
    """The newest first, by semantic version."""
    window = paging.window("versions", Plain)
    found = await parts.registry.listed_versions(model, statuses=status or (), window=window)
    return paging.page("versions", [version_view(row) for row in found.items], found)


@router.get("/{model}/versions/{version}")
async def get_version(_: Reader, parts: With, model: ModelId, version: VersionId) -> VersionView:
    """One version, by its number, its id or an alias."""
    return version_view(await parts.registry.version(model, version))


@router.get("/{model}/versions/{version}/registration")
async def get_registration(_: Reader, parts: With, model: ModelId, version: VersionId) -> RegistrationView:
    """How far a registration is that was answered with 202, and why if it failed."""
    if await _exists(parts, model, version):
        return _registration(model, version, RegistrationStatus.COMPLETED)
    state = await parts.orchestration.registration(model, version)
    if isinstance(state, HotSwapError):
        return _registration(model, version, RegistrationStatus.FAILED, error=state)
    return _registration(model, version, state)


@router.get("/{model}/versions/{version}/lineage")
async def get_lineage(_: Reader, parts: With, model: ModelId, version: VersionId) -> LineageView:
    """What it was made from, and what was made from it, over all generations."""
    row = await parts.registry.version(model, version)
    return lineage_view(row, await parts.lineage.of(row.version.version_id))


async def _parents(parts: With, body: RegisterVersion) -> list[str]:
    """The ids of what the version is made from. Raises ValidationFailed naming what is not registered."""
    found = []
    for number, parent in enumerate(body.derived_from):
        try:
            row = await parts.registry.version(parent.model or body.name, parent.version)
        except (ModelNotFound, VersionNotFound) as error:
            raise ValidationFailed.of(f"derivedFrom[{number}]", error.message) from None
        found.append(row.version.version_id)
    return list(dict.fromkeys(found))


async def _only_team(parts: With, body: RegisterVersion, caller: Principal) -> str | None:
    """The team to which the registration is held, unless the caller may register in all. Raises Forbidden.

    A model that is there keeps its team, whatever is said of it here.
    """
    try:
        team = await parts.teams.of(model=body.name)
    except ModelNotFound:
        team = body.team
    admitted_in(team, caller, MAKERS)
    return None if caller.roles & frozenset(MAKERS) else team


async def _exists(parts: With, model: str, version: str) -> bool:
    try:
        await parts.registry.version(model, version)
    except (ModelNotFound, VersionNotFound):
        return False
    return True


def _registration(
    model: str, version: str, status: RegistrationStatus, *, error: HotSwapError | None = None
) -> RegistrationView:
    details = error.details if error is not None else ()
    return RegistrationView(
        model=model,
        version=version,
        status=status,
        workflow_id=registration_workflow_id(model, version),
        code=error.code if error is not None else None,
        message=error.message if error is not None else None,
        details=[ProblemView(field=problem.field, message=problem.message) for problem in details],
    )
