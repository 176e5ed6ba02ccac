"""The keys that sign HotSwap's own tokens: one signs, all are published, and a new one is published before it signs.

A key set is the content of one file: a private JWK, or a JWK set of several, the oldest first. `nbf` of a key says from
when on it signs, in seconds as in a token; between its coming and that moment every proxy learns its public half, so
that no token is ever refused for being too new. A key that no longer signs stays until it is retired, so that no token
is refused for being old. Pure: which file it is, and who may read it, is the caller's business.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from joserfc.jwk import ECKey

from hotswap.domain.errors import Conflict, NotFound

ALGORITHM = "ES256"

Jwk = dict[str, Any]


def generate_signing_key(*, signs_from: datetime | None = None) -> Jwk:
    """Make a private JWK for ES256; its `kid` is the key's thumbprint (RFC 7638), so it can't name another key.

    One in 64 thumbprints begins with a hyphen, which a command line takes for an option: such keys are not used.
    """
    while (key := ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM})).thumbprint().startswith("-"):
        pass
    made = dict(key.as_dict(private=True, kid=key.thumbprint()))
    return made if signs_from is None else {**made, "nbf": int(signs_from.timestamp())}


def public_jwks(*private: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key set by which tokens of these private keys are verified."""
    public = (ECKey.import_key(dict(key)).as_dict(private=False) for key in private)
    return {"keys": [{name: value for name, value in key.items() if name != "nbf"} for key in public]}


def read_keys(content: str | bytes) -> list[Jwk]:
    """Read the private keys of a file, the oldest first. Raises ValueError for what is neither a key nor a key set."""
    found = json.loads(content)
    keys = found.get("keys", [found]) if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) and "kid" in key for key in keys):
        raise ValueError("it holds no signing key: a JWK with a kid, or a JWK set of some, is expected")
    return keys


def write_keys(keys: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"keys": list(keys)})


def signs_from(key: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(key.get("nbf", 0)), UTC)


def signing_key(keys: Sequence[Jwk], *, now: datetime) -> Jwk:
    """Return the newest key whose time has come; if there is none, the next one."""
    ready = [key for key in keys if signs_from(key) <= now]
    return max(ready, key=signs_from) if ready else min(keys, key=signs_from)


def rotated(keys: Iterable[Jwk], *, signs_at: datetime) -> list[Jwk]:
    """Return the keys with a new one, which signs from that time on."""
    return [*keys, generate_signing_key(signs_from=signs_at)]


def retired(keys: Sequence[Jwk], kid: str, *, now: datetime) -> list[Jwk]:
    """Return the keys without this one: tokens that it signed are refused from then on.

    Raises NotFound, and Conflict for the key that signs.
    """
    if kid not in {key["kid"] for key in keys}:
        raise NotFound(f"there is no key {kid}; `hotswap keys list` shows those there are")
    if signing_key(keys, now=now)["kid"] == kid:
        raise Conflict(f"{kid} signs tokens now; `hotswap keys rotate` makes another, which takes its place")
    return [key for key in keys if key["kid"] != kid]
