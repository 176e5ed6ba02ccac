"""Service tokens for programs: an administrator of all that they may do creates, lists, rotates and revokes them.

An Admin everywhere may create any; an Admin of a team may create those whose roles are all of that team. So nobody can
give away a role that they don't have. How such a token is exchanged is in `api.authentication`.
"""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import admitted_in
from api.context import AnyAdmin, With
from api.idempotency import not_kept
from api.paging import Instant, Paged, Plain
from api.parameters import TokenId
from api.routing import GuardedRoute
from hotswap.domain.access import Grant, Principal
from hotswap.domain.errors import Forbidden
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.paging import part
from hotswap.persistence.platform.service_tokens import Issued, May, StoredServiceToken
from hotswap.schemas.requests import CreateToken, RotateToken, Say
from hotswap.schemas.responses import NewServiceTokenView, Page, ServiceTokenView

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], route_class=GuardedRoute)


@router.post("", status_code=201, dependencies=[not_kept()])
async def create_token(caller: AnyAdmin, parts: With, body: CreateToken, response: Response) -> NewServiceTokenView:
    """Create a service token. Its `token` is in this answer only, and is stored nowhere."""
    _check_administers(caller, body.grants)
    made = await parts.service_tokens.add(
        body.name, body.grants, expires_in=body.expires_in, reason=body.reason, by=caller.subject
    )
    response.headers["Location"] = f"/api/v1/tokens/{made.token.token_id}"
    return _new(made)


@router.get("")
async def list_tokens(
    caller: AnyAdmin,
    parts: With,
    paging: Paged,
    with_ended: Annotated[bool, Query(alias="all", description="list revoked and expired tokens, too")] = False,
) -> Page[ServiceTokenView]:
    """Return the service tokens that the caller administers, newest first."""
    window = paging.window("tokens", Instant, Plain)
    theirs = [
        token for token in await parts.service_tokens.all(with_ended=with_ended) if _administers(caller, token.grants)
    ]
    found = part(theirs, lambda token: (token.created_at, token.token_id), window, falling=True)
    return paging.page("tokens", [_view(token) for token in found.items], found)


@router.post("/{token}/rotate", dependencies=[not_kept()])
async def rotate_token(
    caller: AnyAdmin, parts: With, token: TokenId, body: RotateToken | None = None
) -> NewServiceTokenView:
    """Give a service token another secret, which is in this answer only.

    The one before stays valid for another day, or for `overlap`.
    """
    said = body or RotateToken()
    made = await parts.service_tokens.rotate(
        token, overlap=said.overlap, reason=said.reason, by=caller.subject, may=_may(caller)
    )
    return _new(made)


@router.delete("/{token}")
async def revoke_token(caller: AnyAdmin, parts: With, token: TokenId, body: Say | None = None) -> ServiceTokenView:
    """Revoke a service token.

    It can't be exchanged from now on. Bearer tokens that it was exchanged for before expire within ten minutes.
    """
    revoked = await parts.service_tokens.revoke(
        token, reason=body.reason if body else None, by=caller.subject, may=_may(caller)
    )
    return _view(revoked)


def _may(caller: Principal) -> May:
    return lambda token: _check_administers(caller, token.grants)


def _check_administers(caller: Principal, grants: Iterable[Grant]) -> None:
    """Check that the caller administers all that the token may do. Raises Forbidden."""
    for grant in sorted(grants, key=str):
        admitted_in(grant.team, caller, [Role.ADMIN])


def _administers(caller: Principal, grants: Iterable[Grant]) -> bool:
    try:
        _check_administers(caller, grants)
    except Forbidden:
        return False
    return True


def _view(token: StoredServiceToken) -> ServiceTokenView:
    return ServiceTokenView.model_validate(_told(token))


def _new(issued: Issued) -> NewServiceTokenView:
    return NewServiceTokenView.model_validate({**_told(issued.token), "token": issued.secret})


def _told(token: StoredServiceToken) -> dict[str, object]:
    return {
        "token_id": token.token_id,
        "name": token.name,
        "roles": sorted(map(str, token.grants)),
        "created_by": token.created_by,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_by": token.revoked_by,
        "revoked_at": token.revoked_at,
    }
