"""Facts in a request's headers: its id, its caller, the way by which it came, and how long it is awaited.

Any value is read, or replaced by the default: a header is never a reason to fail a request.
"""

import hashlib
import uuid

from hotswap.domain.headers import (
    ARM_HEADER,
    ATTEMPT_HEADER,
    AWAITED_HEADER,
    CHOSEN_BY_HEADER,
    ENTITY_HEADER,
    FALLBACK_HEADER,
    REQUEST_ID_HEADER,
)
from hotswap.domain.vocabulary import ArmName, ChosenBy
from serving.codecs import RequestHeaders

MOST_ATTEMPTS = 10_000
"""More are no attempts of Envoy's."""
_ARMS = {arm.encode(): arm for arm in ArmName}
_WAYS = {way.encode(): way for way in ChosenBy}
_ARM, _CHOSEN_BY, _ENTITY, _FALLBACK, _REQUEST_ID = (
    name.encode() for name in (ARM_HEADER, CHOSEN_BY_HEADER, ENTITY_HEADER, FALLBACK_HEADER, REQUEST_ID_HEADER)
)
_ATTEMPT, _AWAITED = ATTEMPT_HEADER.encode(), AWAITED_HEADER.encode()


def request_id(headers: RequestHeaders) -> str:
    """Return the request id of the sender if it is usable, otherwise a new one."""
    given = headers.get(_REQUEST_ID, b"").decode("ascii", "replace")
    return given if 0 < len(given) <= 128 and given.isprintable() else str(uuid.uuid4())


def entity(headers: RequestHeaders, *, model: str) -> int | None:
    """Return a hash of the caller, with another key for each model: callers can be told apart, and no more."""
    given = headers.get(_ENTITY)
    if not given:
        return None
    digest = hashlib.blake2b(given, digest_size=8, key=model.encode()).digest()
    return int.from_bytes(digest, "big", signed=True)


def arm(headers: RequestHeaders) -> ArmName:
    return _ARMS.get(headers.get(_ARM, b""), ArmName.STABLE)


def chosen_by(headers: RequestHeaders) -> ChosenBy:
    return _WAYS.get(headers.get(_CHOSEN_BY, b""), ChosenBy.WEIGHT)


def fallback_from(headers: RequestHeaders) -> str | None:
    """Return the version that failed or refused this request before; only the proxy can set it."""
    return headers.get(_FALLBACK, b"").decode("ascii", "replace") or None


def attempt(headers: RequestHeaders) -> int:
    given = _whole(headers.get(_ATTEMPT, b""))
    return given if given is not None and given < MOST_ATTEMPTS else 1


def awaited_ms(headers: RequestHeaders) -> int | None:
    """Return how long the proxy waits for the answer, in milliseconds."""
    return _whole(headers.get(_AWAITED, b""))


def _whole(given: bytes) -> int | None:
    """Parse a whole number; None for other text, and for more digits than Envoy writes: Python refuses thousands."""
    return int(given) if given.isdigit() and len(given) < 10 else None
