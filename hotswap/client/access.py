"""Who is let in: local users' logins, and programs' service tokens."""

from datetime import timedelta
from typing import Any

from hotswap.client.calls import Calls, quoted, read, spelled
from hotswap.schemas.responses import NewServiceTokenView, Page, ServiceTokenView, TokenView

TOKENS = "/api/v1/tokens"


class Access(Calls):
    def login(self, user: str, password: str) -> TokenView:
        body = {"user": user, "password": password}
        return read(TokenView, self._transport.send("POST", "/api/v1/authentication/login", body=body, repeatable=True))

    def create_token(
        self, name: str, *roles: str, expires_in: timedelta | None = None, reason: str | None = None
    ) -> NewServiceTokenView:
        """Make a service token; roles are spelled `Application`, or `payments:MLEngineer` for one team's models."""
        body = {"name": name, "roles": list(roles), "expiresIn": spelled(expires_in), "reason": reason}
        return read(NewServiceTokenView, self._transport.send("POST", TOKENS, body=_said(body), repeatable=False))

    def tokens(
        self, *, with_ended: bool = False, limit: int = 50, offset: int | None = None, cursor: str | None = None
    ) -> Page[ServiceTokenView]:
        """Newest first; with those that are revoked or expired if they are wanted."""
        query = {"all": with_ended, "limit": limit, "offset": offset, "cursor": cursor}
        return read(Page[ServiceTokenView], self._transport.send("GET", TOKENS, query=query))

    def rotate_token(
        self, token: str, *, overlap: timedelta | None = None, reason: str | None = None
    ) -> NewServiceTokenView:
        """Give it another secret; `overlap` is for how long the one before still counts, a day when absent."""
        body = _said({"overlap": spelled(overlap), "reason": reason})
        path = f"{TOKENS}/{quoted(token)}/rotate"
        return read(NewServiceTokenView, self._transport.send("POST", path, body=body, repeatable=False))

    def revoke_token(self, token: str, *, reason: str | None = None) -> ServiceTokenView:
        """By its id, or by its name while it is in use."""
        body = _said({"reason": reason})
        return read(ServiceTokenView, self._transport.send("DELETE", f"{TOKENS}/{quoted(token)}", body=body))


def _said(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
