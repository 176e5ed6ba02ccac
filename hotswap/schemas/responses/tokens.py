"""Service tokens, the bearer tokens that they are exchanged for, and the answer to a login.

If an answer that holds a secret can't be read, the error doesn't show its content.
"""

from datetime import datetime

from pydantic import ConfigDict

from hotswap.schemas.responses.base import View


class ServiceTokenView(View):
    token_id: str
    name: str
    roles: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_by: str | None
    revoked_at: datetime | None


class NewServiceTokenView(ServiceTokenView):
    """A new service token. `token` is in this answer only."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: str


class AccessTokenView(View):
    """A bearer token, with the names of RFC 6749 so that any OAuth 2.0 client reads it; `expires_in` is in seconds."""

    model_config = ConfigDict(alias_generator=None, hide_input_in_errors=True)

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int


class TokenView(View):
    """A bearer token; `expiresIn` is in seconds."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
