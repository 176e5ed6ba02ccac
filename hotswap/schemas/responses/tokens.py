"""Service tokens, what they are exchanged for, and what a login is answered with.

Where one that holds a secret can't be read, the error doesn't say what was in it.
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
    """`token` is shown this once."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: str


class AccessTokenView(View):
    """Named as RFC 6749 names them, so that any OAuth 2.0 client reads it; `expires_in` in seconds."""

    model_config = ConfigDict(alias_generator=None, hide_input_in_errors=True)

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int


class TokenView(View):
    """`expiresIn` in seconds."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
