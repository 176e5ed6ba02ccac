"""Who calls, and whether they may: one rule per route, and no route without one.

A route states its rule as a parameter, `caller: Annotated[Principal, requires(Role.ADMIN)]`. `api.routing` applies it
before the body is read, so that a stranger learns nothing and costs nothing, and a route without one can't be: a
forgotten rule stops the API's start instead of opening a door. Tokens are checked with the same key set as at Envoy;
the file is read again when it changes, so keys can be rotated while this runs.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from hotswap.domain.errors import Forbidden, Unauthorized, Unavailable
from hotswap.domain.vocabulary import Role
from hotswap.security import Principal, verify_token
from hotswap.settings import SecuritySettings

ENGINEERS = (Role.ML_ENGINEER, Role.ADMIN)
MAKERS = (Role.DATA_SCIENTIST, *ENGINEERS)
READERS = (Role.VIEWER, *MAKERS)
"""Applications only infer and report outcomes, and traffic agents only see the plan: neither reads the registry."""
CALLERS = (Role.APPLICATION, *MAKERS)
"""Who may infer, which Envoy decides, and say what the predictions should have been."""

_Bearer = Annotated[Any, Depends(HTTPBearer(auto_error=False, description="a token from `hotswap env` or from login"))]


class Tokens:
    """Believes what `hotswap.security.verify_token` believes, with the keys of one file."""

    def __init__(
        self, settings: SecuritySettings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: tuple[int, dict[str, Any]] | None = None

    def principal(self, token: str) -> Principal:
        """Raises Unauthorized, or Unavailable when the key set can't be read."""
        return verify_token(
            token,
            jwks=self._jwks(self._settings.jwks_file),
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            now=self._clock(),
        )

    def _jwks(self, path: Path) -> dict[str, Any]:
        try:
            changed = path.stat().st_mtime_ns
            if self._keys is None or self._keys[0] != changed:
                self._keys = (changed, msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))
        except (OSError, msgspec.DecodeError) as error:
            if self._keys is None:
                raise Unavailable("the keys that tokens are checked with can't be read") from error
        return self._keys[1]


class Rule:
    """Who may call a route; also the dependency that hands the caller to its handler."""

    def __init__(self, roles: frozenset[Role]) -> None:
        self.roles = roles

    def __call__(self, request: Request, _: _Bearer) -> Principal:
        caller: Principal = request.state.caller
        return caller

    def admit(self, request: Request) -> Principal:
        """Raises Unauthorized or Forbidden."""
        caller = _authenticate(request)
        if not caller.roles & self.roles:
            needed = " or ".join(sorted(self.roles))
            has = ", ".join(sorted(caller.roles)) or "none"
            raise Forbidden(f"this needs the role {needed}; {caller.subject} has {has}")
        return caller


class Anonymous:
    """Open to anybody: only for what SPEC's list of exceptions names."""

    def __call__(self) -> None:
        """Nobody is handed to the handler."""

    def admit(self, _: Request) -> None:
        """Nobody is asked."""


def requires(*roles: Role) -> Any:
    return Depends(Rule(frozenset(roles)))


def anonymous() -> Any:
    """For a route's `dependencies`."""
    return Depends(Anonymous())


def rule_of(route: APIRoute) -> Rule | Anonymous:
    """Raises RuntimeError for a route that has no rule, or more than one."""
    rules = [needed.call for needed in route.dependant.dependencies if isinstance(needed.call, Rule | Anonymous)]
    if len(rules) != 1:
        raise RuntimeError(f"{route.path} needs exactly one rule who may call it: requires(...) or anonymous()")
    return rules[0]


def _authenticate(request: Request) -> Principal:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("a bearer token is needed: Authorization: Bearer <token>")
    tokens: Tokens = request.app.state.parts.tokens
    return tokens.principal(token.strip())
