"""Service tokens: what a program holds for months, and exchanges for a JWT of minutes.

`hst_{id}_{secret}{checksum}`: a prefix that secret scanners know it by, the id under which its row is found, 40 random
letters and digits (238 bits), and a CRC-32 of all before it, so that a scanner, and the API without asking its
database, can tell a token from what only looks like one. Kept is its SHA-256 and never itself: of a secret that is
random a hash need not be slow.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from hotswap.domain.ids import SERVICE_ID_PREFIX

PREFIX = "hst"

_ALPHABET = string.digits + string.ascii_letters
_FORM = re.compile(rf"({PREFIX}_([0-9a-f]{{12}})_[0-9A-Za-z]{{40}})([0-9A-Za-z]{{6}})")


@dataclass(frozen=True, slots=True, repr=False)
class Presented:
    """A token as a caller sends it: the id of its row, and the hash that must be there."""

    token_id: str
    digest: str

    def is_any_of(self, *stored: str | None) -> bool:
        """Compare in a time that doesn't depend on how much of it is right."""
        matches = [hmac.compare_digest(self.digest, each or "") for each in stored]
        return any(matches)


def new_id() -> str:
    return f"{SERVICE_ID_PREFIX}{secrets.token_hex(6)}"


def mint(token_id: str) -> str:
    """Create a new secret of this id, which is shown once."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(40))
    body = f"{PREFIX}_{token_id.removeprefix(SERVICE_ID_PREFIX)}_{secret}"
    return body + _checksum(body)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def looks_like_one(text: str) -> bool:
    return text.startswith(f"{PREFIX}_")


def read(text: str) -> Presented | None:
    """Parse a service token; None for other text, or one with a wrong letter."""
    found = _FORM.fullmatch(text)
    if found is None or found[3] != _checksum(found[1]):
        return None
    return Presented(f"{SERVICE_ID_PREFIX}{found[2]}", digest(text))


def _checksum(text: str) -> str:
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
