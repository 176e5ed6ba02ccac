"""Authentication and authorization of callers: each route has one rule, and no route is without one.

A route states its rule as a parameter, `caller: Annotated[Principal, requires(Role.ADMIN)]`. `api.routing` applies it
before the body is read, so that a stranger learns nothing and costs nothing. A route without a rule stops the API's
start, so a forgotten rule opens no door. A role in a team counts where the path names a model or
a deployment of that team, and nowhere else unless the rule says so. Tokens are checked with the same key set as at
Envoy; the file is read again when it changes, so keys can be rotated while this runs.
"""

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from api.limits import RateLimits, client_address
from hotswap.domain.access import Principal
from hotswap.domain.errors import Forbidden, Unauthorized, Unavailable
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.service_tokens import PostgresServiceTokens
from hotswap.ports import Teams
from hotswap.security import service_tokens
from hotswap.security.jwt import verify_token
from hotswap.security.oidc import IssuerKeys, unverified, verify_issued
from hotswap.settings import OidcSettings, SecuritySettings

ENGINEERS = (Role.ML_ENGINEER, Role.ADMIN)
MAKERS = (Role.DATA_SCIENTIST, *ENGINEERS)
READERS = (Role.VIEWER, *MAKERS)
"""Applications only infer and report outcomes, and traffic agents only see the plan: neither reads the registry."""
CALLERS = (Role.APPLICATION, *MAKERS)
"""The roles that may infer, which Envoy decides, and that may report outcomes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_Bearer = Annotated[Any, Depends(HTTPBearer(auto_error=False, description="a token from `hotswap env` or from login"))]


class TokenVerifier:
    """Verifies HotSwap's own tokens by the keys of one file, and those of another issuer if one is configured."""

    def __init__(
        self,
        settings: SecuritySettings,
        oidc: OidcSettings = OidcSettings(),  # noqa: B008 - frozen
        issuer_keys: IssuerKeys | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._oidc = oidc
        self._issuer_keys = issuer_keys
        self._clock = clock
        self._keys: tuple[int, dict[str, Any]] | None = None

    async def principal(self, token: str) -> Principal:
        """Return the caller that a token names.

        Raises Unauthorized, or Unavailable if the keys to check the token with can't be read.
        """
        if self._issuer_keys is not None:
            issuer, kid = unverified(token)
            if issuer == self._oidc.issuer:
                jwks = await self._issuer_keys.having(kid if isinstance(kid, str) else None)
                return verify_issued(token, jwks=jwks, settings=self._oidc, now=self._clock())
        return verify_token(
            token,
            jwks=self.jwks(),
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            now=self._clock(),
        )

    def jwks(self) -> dict[str, Any]:
        """Return the public keys in the file, or those read last if it can't be read now. Raises Unavailable."""
        path = self._settings.jwks_file
        try:
            changed = path.stat().st_mtime_ns
            if self._keys is None or self._keys[0] != changed:
                self._keys = (changed, msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
        except (OSError, msgspec.DecodeError) as error:
            if self._keys is None:
                raise Unavailable("the keys that tokens are checked with can't be read") from error
        return self._keys[1]


class Admission(ABC):
    """The check that a route makes before its handler runs."""

    @abstractmethod
    async def admit(self, request: Request) -> Principal | None:
        """Return the caller to hand to the handler. Raises Unauthorized, Forbidden or RateLimited."""


class Rule(Admission):
    """The roles that may call a route; also the dependency that hands the caller to its handler.

    With `anywhere`, a role in any team is enough: for routes that concern no team, or one that only the body names.
    """

    def __init__(self, roles: frozenset[Role], *, anywhere: bool = False) -> None:
        self.roles = roles
        self.anywhere = anywhere

    def __call__(self, request: Request, _: _Bearer) -> Principal:
        caller: Principal = request.state.caller
        return caller

    async def admit(self, request: Request) -> Principal:
        caller = await _authenticate(request)
        if not caller.has_anywhere(self.roles):
            raise _forbidden(caller, self.roles)
        if self.anywhere:
            return caller
        if caller.has_teams and (named := _named_in(request)):
            teams: Teams = request.app.state.parts.teams
            return admitted_in(await teams.of(**named), caller, self.roles)
        if not caller.roles & self.roles:
            raise _forbidden(caller, self.roles)
        return caller


def admitted_in(team: str | None, caller: Principal, roles: Iterable[Role]) -> Principal:
    """Return the caller with the roles that count for models of this team, or of none. Raises Forbidden."""
    there = caller.within(team)
    if not there.roles & frozenset(roles):
        raise _forbidden(there, roles)
    return there


class Exchange(Admission):
    """The rule for callers that send a service token as `Bearer`, or as OAuth 2.0's client secret (`Basic`)."""

    def __call__(self, request: Request, _: _Bearer) -> Principal:
        caller: Principal = request.state.caller
        return caller

    async def admit(self, request: Request) -> Principal:
        shown = service_tokens.read(_service_token(request))
        if shown is None:
            raise Unauthorized("a service token is needed: Authorization: Bearer hst_..., from `hotswap tokens create`")
        limits: RateLimits = request.app.state.parts.limits
        stored: PostgresServiceTokens = request.app.state.parts.service_tokens
        await limits.check_exchange_from(client_address(request))
        token = await stored.of(shown)
        await limits.check_exchange_of(token.token_id)
        await stored.note_use(token)
        request.state.expires_at = token.expires_at
        return Principal(token.subject, token.grants)


class Anonymous(Admission):
    """The rule of routes that anybody may call: only for those in SPEC's list of exceptions."""

    def __call__(self) -> None:
        """Hand nothing to the handler."""

    async def admit(self, _: Request) -> None:
        """Admit the request without a check."""


def requires(*roles: Role, anywhere: bool = False) -> Any:
    return Depends(Rule(frozenset(roles), anywhere=anywhere))


def exchanges() -> Any:
    return Depends(Exchange())


def anonymous() -> Any:
    """Return the rule of a route that anybody may call, for the route's `dependencies`."""
    return Depends(Anonymous())


def rule_of(route: APIRoute) -> Admission:
    """Return the rule of a route. Raises RuntimeError if it has no rule, or more than one."""
    needed: list[object] = [dependency.call for dependency in route.dependant.dependencies]
    rules = [rule for rule in needed if isinstance(rule, Admission)]
    if len(rules) != 1:
        raise RuntimeError(f"{route.path} needs exactly one rule who may call it: requires(...) or anonymous()")
    return rules[0]


def _named_in(request: Request) -> dict[str, str]:
    """Return the names in the path that tell which team counts; the handler refuses what is no valid name."""
    found = {name: str(request.path_params.get(name, "")) for name in ("model", "deployment_id")}
    return {name: value for name, value in found.items() if _NAME.fullmatch(value)}


def _forbidden(caller: Principal, roles: Iterable[Role]) -> Forbidden:
    needed = " or ".join(sorted(roles))
    place = f" in the team {caller.team}" if caller.team is not None else ""
    has = ", ".join(sorted(map(str, caller.grants))) or "none"
    return Forbidden(f"this needs the role {needed}{place}; {caller.subject} has {has}")


async def _authenticate(request: Request) -> Principal:
    scheme, token = _authorization(request)
    if scheme != "bearer" or not token:
        raise Unauthorized("a bearer token is needed: Authorization: Bearer <token>")
    if service_tokens.looks_like_one(token):
        raise Unauthorized(
            "a service token is not accepted here; POST /api/v1/authentication/token exchanges it for a bearer token"
        )
    tokens: TokenVerifier = request.app.state.parts.tokens
    return await tokens.principal(token)


def _service_token(request: Request) -> str:
    """Return the service token; with `Basic` it is the password, and the user name is the token's id."""
    scheme, credentials = _authorization(request)
    if scheme == "bearer":
        return credentials
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return ""
    shown = service_tokens.read(password)
    return password if scheme == "basic" and shown is not None and shown.token_id == user else ""


def _authorization(request: Request) -> tuple[str, str]:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials.strip()
