"""HotSwap's own tokens: how they are issued and verified.

Tokens are ES256 JWTs, so that whoever checks them (Envoy, the API) holds public keys only; the private ones are
`hotswap.security.signing`'s. The invariant: a `Principal` exists only for a token that was signed by a known key with
ES256 exactly, meant for us (`iss`, `aud`), unexpired, and whose roles we know. A token that fails any of these is
`Unauthorized`, never a caller with fewer rights: a typo in a role must be noticed.

What a role may do is left to the API; local passwords and tokens of other issuers are its business too.
"""

import binascii
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from hotswap.domain.access import Grant, Principal
from hotswap.domain.errors import Unauthorized
from hotswap.domain.vocabulary import Role
from hotswap.security.signing import ALGORITHM

CLOCK_LEEWAY = timedelta(seconds=30)
"""The difference that two machines' clocks may have; Envoy's `jwt_authn` allows 60 s."""


def issue_token(
    *,
    key: Mapping[str, Any],
    issuer: str,
    audience: str,
    subject: str,
    roles: Iterable[Role | Grant],
    lifetime: timedelta,
    now: datetime,
) -> str:
    """Mint a token that is valid from `now` (with a time zone) for `lifetime`; its roles are spelled as grants."""
    issued_at = int(now.timestamp())
    claims = {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "roles": sorted(str(role) for role in roles),
        "iat": issued_at,
        "exp": issued_at + int(lifetime.total_seconds()),
        "jti": uuid.uuid4().hex,
    }
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key["kid"]}
    return jwt.encode(header, claims, ECKey.import_key(dict(key)), algorithms=[ALGORITHM])


def verify_token(token: str, *, jwks: Mapping[str, Any], issuer: str, audience: str, now: datetime) -> Principal:
    """Check a token against public keys and say who calls.

    Raises:
        Unauthorized: the token is malformed, unknown, expired, meant for somebody else, or its roles make no sense.
    """
    try:
        keys = KeySet.import_key_set({"keys": list(jwks["keys"])})
        decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=int(CLOCK_LEEWAY.total_seconds()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        registry.validate(decoded.claims)
    except (JoseError, binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Unauthorized(f"the token is not valid: {error}") from None
    return _principal(decoded.claims)


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject, roles = claims["sub"], claims.get("roles")
    if not isinstance(subject, str) or not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Unauthorized("the token is not valid: it needs a subject and a list of roles")
    try:
        return Principal(subject, frozenset(Grant.parse(role) for role in roles))
    except ValueError as error:
        raise Unauthorized(f"the token is not valid: {error}") from None
