"""Tokens of another issuer (OpenID Connect): its keys, kept while it is away, and what its claims mean here.

Keys are found by the issuer's discovery document and asked for again every few minutes, at the API also when a token
names one that is not known yet, though never more often than each few seconds, whoever shows what. What was got last
stays in memory and in a file, so that an issuer that is down, even while we start, keeps nobody out whose token is
good. Only asymmetric signatures count, so that nobody's public key can be taken for a shared secret.
"""

import asyncio
import binascii
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from hotswap.domain.access import Grant, Principal
from hotswap.domain.errors import Unauthorized, Unavailable
from hotswap.security.jwt import CLOCK_LEEWAY
from hotswap.settings import OidcSettings, is_private_address
from hotswap.storage.files import write_atomically

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
PATIENCE_SECONDS = 5.0
LEAST_SECONDS_BETWEEN = 10.0
MOST_KEYS_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)

Jwks = dict[str, Any]


class IssuerKeys:
    """The keys of one issuer, `jwks` being the last that it gave; None before it ever did."""

    def __init__(self, settings: OidcSettings, *, http: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._http = http or httpx.AsyncClient(timeout=PATIENCE_SECONDS)
        self._asked_at = -LEAST_SECONDS_BETWEEN
        self._asking = asyncio.Lock()
        self._problem: str | None = None
        self.jwks = self._from_file()

    async def keep(self, changed: Callable[[], None] = lambda: None) -> None:
        """Ask again and again, until cancelled; `changed` is called whenever there are other keys than before."""
        while True:
            before = self.jwks
            await self.refresh()
            if self.jwks != before:
                changed()
            # What was never got is looked for as often as it may be.
            known = self._settings.refresh.total_seconds()
            await asyncio.sleep(known if self._problem is None else min(known, LEAST_SECONDS_BETWEEN))

    async def having(self, kid: str | None) -> Jwks:
        """Return the keys, with this one if the issuer has it. Raises Unavailable where it never gave any."""
        if not self._has(kid):  # who has a known key never waits for those who make keys up
            async with self._asking:
                if not self._has(kid) and time.monotonic() - self._asked_at >= LEAST_SECONDS_BETWEEN:
                    await self.refresh()
        if self.jwks is None:
            raise Unavailable(
                f"the keys of {self._settings.issuer} can't be read now; HotSwap's own tokens are accepted"
            )
        return self.jwks

    def _has(self, kid: str | None) -> bool:
        return self.jwks is not None and (kid is None or any(key.get("kid") == kid for key in self.jwks["keys"]))

    async def refresh(self) -> None:
        """Ask the issuer now. Where it fails the keys stay as they are, and the log says so once."""
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                jwks = await self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            if problem != self._problem:
                logger.warning(
                    "the issuer's keys can't be had", extra={"issuer": self._settings.issuer, "error": problem}
                )
            self._problem = problem
            return
        finally:
            self._asked_at = time.monotonic()
        self._problem = None
        if jwks != self.jwks:
            self.jwks = jwks
            self._to_file(jwks)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _fetch(self) -> Jwks:
        issuer = str(self._settings.issuer)
        described = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if described["issuer"] != issuer:
            raise ValueError(f"its discovery document is of {described['issuer']!r}")
        address = httpx.URL(described["jwks_uri"])
        if address.scheme != "https" and not is_private_address(address.host):
            raise ValueError(f"its keys would come from {address} without TLS")
        return usable(await self._get(str(address)))

    async def _get(self, url: str) -> dict[str, Any]:
        answer = await self._http.get(url, headers={"Accept": "application/json"})
        answer.raise_for_status()
        if len(answer.content) > MOST_KEYS_BYTES:
            raise ValueError(f"{url} answered {len(answer.content)} bytes")
        found: dict[str, Any] = answer.json()
        return found

    def _from_file(self) -> Jwks | None:
        try:
            kept = json.loads(self._settings.cache_file.read_bytes())
            return usable(kept) if kept["issuer"] == self._settings.issuer else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _to_file(self, jwks: Jwks) -> None:
        try:
            write_atomically(self._settings.cache_file, json.dumps({"issuer": self._settings.issuer, **jwks}))
        except OSError as error:
            logger.warning("the issuer's keys can't be kept for the next start", extra={"error": str(error)})


def usable(jwks: Mapping[str, Any]) -> Jwks:
    """Return the public keys that may sign, without unreadable ones. Raises ValueError where there is none."""
    found = []
    for key in jwks["keys"]:
        if key.get("use", "sig") != "sig" or key.get("kty") not in {"RSA", "EC"}:
            continue
        try:
            found.append(dict(import_key(key).as_dict(private=False)))
        except (JoseError, ValueError, TypeError):
            logger.warning("a key of the issuer is left out, since it can't be read", extra={"kid": key.get("kid")})
    if not found:
        raise ValueError("it has no key that signs")
    return {"keys": found}


def unverified(token: str) -> tuple[Any, Any]:
    """Return a token's issuer and key id, both unverified; None each where the token has none."""
    try:
        signed = jws.extract_compact(token.encode())
        claims = json.loads(signed.payload)
    except (JoseError, binascii.Error, ValueError, RecursionError):
        return None, None
    return (claims.get("iss") if isinstance(claims, dict) else None), signed.headers().get("kid")


def verify_issued(token: str, *, jwks: Jwks, settings: OidcSettings, now: datetime) -> Principal:
    """Check a token of the issuer and say who calls. Raises Unauthorized."""
    try:
        decoded = jwt.decode(token, KeySet.import_key_set({"keys": list(jwks["keys"])}), algorithms=list(ALGORITHMS))
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=int(CLOCK_LEEWAY.total_seconds()),
            iss={"essential": True, "value": str(settings.issuer)},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
        )
        registry.validate(decoded.claims)
    except (JoseError, binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Unauthorized(f"the token is not valid: {error}") from None
    subject = decoded.claims.get(settings.subject_claim)
    if not isinstance(subject, str) or not subject:
        raise Unauthorized(f"the token is not valid: it needs a claim {settings.subject_claim}")
    return Principal(subject, grants_of(decoded.claims, settings))


def grants_of(claims: Mapping[str, Any], settings: OidcSettings) -> frozenset[Grant]:
    """Return the grants that the settings give the names in the claim; unknown names give none."""
    found: Any = claims
    for name in settings.roles_claim:
        found = found.get(name) if isinstance(found, Mapping) else None
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    given = (settings.roles.get(name, ()) for name in names if isinstance(name, str))
    return frozenset(Grant.parse(grant) for grants in given for grant in grants)
