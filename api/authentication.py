"""Exchange of a local user's password, or of a program's service token, for a token of HotSwap's own.

Local users are for small installations; others bring their tokens. They are in the TOML file that a setting names:
`[users.ann]` with `password` (an argon2 hash) and `roles`, each everywhere or in a team. An unknown user costs as much
time as a wrong password, and hashing, which is meant to be dear, is done for two callers at a time so that a flood of
logins can't starve the rest. How often one user and one address may try is `api.limits`' business.
"""

import asyncio
import logging
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import APIRouter, Request, Response

from api.auth import anonymous, exchanges
from api.context import Anybody, With
from api.idempotency import not_kept
from api.limits import LIMITED, client_address
from api.routing import GuardedRoute
from hotswap.domain.access import Grant, Principal
from hotswap.domain.errors import NotFound, Unauthorized, Unavailable
from hotswap.schemas.requests import Login
from hotswap.schemas.responses import AccessTokenView, TokenView
from hotswap.security.jwt import issue_token
from hotswap.security.signing import Jwk, read_keys, signing_key

router = APIRouter(prefix="/api/v1/authentication", tags=["authentication"], route_class=GuardedRoute)
published = APIRouter(tags=["authentication"], route_class=GuardedRoute)

logger = logging.getLogger(__name__)

_hasher = PasswordHasher()
_NOBODY = _hasher.hash("nobody has this password")


class User(msgspec.Struct, frozen=True):
    password: str
    roles: list[str]

    @property
    def grants(self) -> list[Grant]:
        """Return the user's roles as grants. Raises ValueError."""
        return [Grant.parse(role) for role in self.roles]


class Users(msgspec.Struct, frozen=True):
    users: dict[str, User] = {}


@router.post(
    "/login",
    dependencies=[anonymous()],
    responses={
        401: {"description": "user or password is wrong"},
        404: {"description": "local login is not set up here"},
        503: {"description": "the file of users or the signing key can't be read"},
        **LIMITED,
    },
)
async def login(parts: With, request: Request, body: Login) -> TokenView:
    """Return a bearer token for a local user."""
    settings = parts.settings.security
    if settings.users_file is None or settings.signing_key_file is None:
        raise NotFound(
            "local login is not set up on this server; it needs HOTSWAP_SECURITY__USERS_FILE and ...SIGNING_KEY_FILE"
        )
    address = client_address(request)
    await parts.limits.check_login(body.user, address)
    users, key = _read_users(settings.users_file), _read_key(settings.signing_key_file)
    user = users.get(body.user)
    hashing: asyncio.Semaphore = request.app.state.hashing
    async with hashing:
        matches = await asyncio.to_thread(_matches, user.password if user else _NOBODY, body.password)
    known = body.user if user is not None else "nobody that is known"  # some type their password there
    if user is None or not matches:
        logger.warning("login refused", extra={"user": known, "address": address})
        raise Unauthorized("user or password is wrong")
    logger.info("login", extra={"user": known, "address": address})
    token = issue_token(
        key=key,
        issuer=settings.issuer,
        audience=settings.audience,
        subject=body.user,
        roles=user.grants,
        lifetime=settings.token_lifetime,
        now=datetime.now(UTC),
    )
    return TokenView(access_token=token, expires_in=int(settings.token_lifetime.total_seconds()))


@router.post("/token", dependencies=[not_kept()], responses=LIMITED)
async def exchange(caller: Annotated[Principal, exchanges()], parts: With, request: Request) -> AccessTokenView:
    """Return a bearer token that lasts minutes for a service token.

    This is OAuth 2.0's client credentials grant (RFC 6749, 4.4).
    """
    settings = parts.settings.security
    if settings.signing_key_file is None:
        raise NotFound(
            "this server issues no tokens; HOTSWAP_SECURITY__SIGNING_KEY_FILE must name the key that signs them"
        )
    now = datetime.now(UTC)
    lifetime = min(settings.service_token_lifetime, request.state.expires_at - now)
    token = issue_token(
        key=_read_key(settings.signing_key_file),
        issuer=settings.issuer,
        audience=settings.audience,
        subject=caller.subject,
        roles=caller.grants,
        lifetime=lifetime,
        now=now,
    )
    return AccessTokenView(access_token=token, expires_in=int(lifetime.total_seconds()))


class KeySet(Response):
    media_type = "application/jwk-set+json"


@published.get(
    "/.well-known/jwks.json",
    response_class=KeySet,
    responses={200: {"content": {KeySet.media_type: {"schema": {"type": "object", "required": ["keys"]}}}}},
)
async def list_keys(_: Anybody, parts: With) -> Response:
    """Return the public keys (RFC 7517) with which anyone can check the tokens that HotSwap issues."""
    keys = msgspec.json.encode(parts.tokens.jwks())
    return KeySet(keys, headers={"Cache-Control": "max-age=60"})


def _read_users(file: Path) -> Mapping[str, User]:
    try:
        found = msgspec.convert(tomllib.loads(file.read_text()), Users).users
        for user in found.values():
            _ = user.grants
    except (OSError, ValueError) as error:
        raise Unavailable("the file of local users can't be read; the log says why") from error
    return found


def _read_key(file: Path) -> Jwk:
    try:
        return signing_key(read_keys(file.read_bytes()), now=datetime.now(UTC))
    except (OSError, ValueError) as error:
        raise Unavailable("the signing key can't be read; the log says why") from error


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
