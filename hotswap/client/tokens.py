"""Calls for access: local users' logins, and programs' service tokens."""

from datetime import timedelta

from hotswap.client.calls import Call, delete, get, post, quoted
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.requests import CreateToken, Login, RotateToken, Say
from hotswap.schemas.responses import NewServiceTokenView, Page, ServiceTokenView, TokenView

TOKENS = "/api/v1/tokens"


class Authentication(ClientResource[T]):
    @call
    def login(self, user: str, password: str) -> Call[TokenView]:
        """Log in as a local user; the answer has the token for another client."""
        return post(TokenView, "/api/v1/authentication/login", Login(user=user, password=password), repeatable=True)


class Tokens(ClientResource[T]):
    @call
    def create(self, request: CreateToken) -> Call[NewServiceTokenView]:
        """Make a service token; roles are spelled `Application`, or `payments:MLEngineer` for one team's models."""
        return post(NewServiceTokenView, TOKENS, request, repeatable=False)

    @call
    def list(
        self, *, with_ended: bool = False, limit: int = 50, offset: int | None = None, cursor: str | None = None
    ) -> Call[Page[ServiceTokenView]]:
        """List service tokens, newest first, with revoked and expired ones if they are wanted."""
        query = {"all": with_ended, "limit": limit, "offset": offset, "cursor": cursor}
        return get(Page[ServiceTokenView], TOKENS, query)

    @call
    def rotate(
        self, token: str, *, overlap: timedelta | None = None, reason: str | None = None
    ) -> Call[NewServiceTokenView]:
        """Give it another secret; `overlap` is for how long the one before still counts, a day when absent."""
        body = RotateToken(reason=reason, **({} if overlap is None else {"overlap": overlap}))
        return post(NewServiceTokenView, f"{TOKENS}/{quoted(token)}/rotate", body, repeatable=False)

    @call
    def revoke(self, token: str, *, reason: str | None = None) -> Call[ServiceTokenView]:
        """Revoke a service token, by its id, or by its name while it is in use."""
        return delete(ServiceTokenView, f"{TOKENS}/{quoted(token)}", Say(reason=reason))
