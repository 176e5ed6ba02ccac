"""Local login: a user's password for a token of HotSwap's own. For small installations; others bring their tokens.

Users are in the TOML file that a setting names: `[users.ann]` with `password` (an argon2 hash) and `roles`. An unknown
user costs as much time as a wrong password, and hashing, which is meant to be dear, is done for two callers at a time
so that a flood of logins can't starve the rest. How often one user and one address may try is `api.limits`' business.
"""

import asyncio
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import APIRouter, Request

from api.auth import anonymous
from api.context import With
from api.limits import LIMITED
from api.routing import GuardedRoute
from api.schemas import Login
from hotswap.domain.errors import NotFound, Unauthorized, Unavailable
from hotswap.domain.vocabulary import Role
from hotswap.security import issue_token
from hotswap.views import TokenView
from serving.envoy.headers import CLIENT_ADDRESS_HEADER

router = APIRouter(prefix="/api/v1/authentication", tags=["authentication"], route_class=GuardedRoute)

_hasher = PasswordHasher()
_NOBODY = _hasher.hash("nobody has this password")


class User(msgspec.Struct, frozen=True):
    password: str
    roles: list[Role]


class Users(msgspec.Struct, frozen=True):
    users: dict[str, User] = {}


@router.post("/login", dependencies=[anonymous()], responses=LIMITED)
async def login(parts: With, request: Request, body: Login) -> TokenView:
    """A bearer token for a local user."""
    settings = parts.settings.security
    if settings.users_file is None or settings.signing_key_file is None:
        raise NotFound("local login is not set up here: HOTSWAP_SECURITY__USERS_FILE and ...SIGNING_KEY_FILE do that")
    await parts.limits.check_login(body.user, client_address(request))
    users, key = _read(settings.users_file, settings.signing_key_file)
    user = users.get(body.user)
    hashing: asyncio.Semaphore = request.app.state.hashing
    async with hashing:
        matches = await asyncio.to_thread(_matches, user.password if user else _NOBODY, body.password)
    if user is None or not matches:
        raise Unauthorized("user or password is wrong")
    token = issue_token(
        key=key,
        issuer=settings.issuer,
        audience=settings.audience,
        subject=body.user,
        roles=user.roles,
        lifetime=settings.token_lifetime,
        now=datetime.now(UTC),
    )
    return TokenView(access_token=token, expires_in=int(settings.token_lifetime.total_seconds()))


def client_address(request: Request) -> str:
    """Who is at the other end of the public address, as Envoy says; of who comes past Envoy, the connection's."""
    return request.headers.get(CLIENT_ADDRESS_HEADER) or (request.client.host if request.client else "nowhere")


def _read(users_file: Path, key_file: Path) -> tuple[Mapping[str, User], dict[str, Any]]:
    try:
        users = msgspec.convert(tomllib.loads(users_file.read_text()), Users)
        return users.users, msgspec.json.decode(key_file.read_bytes(), type=dict[str, Any])
    except (OSError, ValueError) as error:
        raise Unavailable("the file of local users or the signing key can't be read; the log says why") from error


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
