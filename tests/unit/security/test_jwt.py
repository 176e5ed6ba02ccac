"""A principal exists only for a token that is signed by a known key, meant for us, unexpired, with roles we know."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hotswap.domain.access import Grant, Principal
from hotswap.domain.errors import Unauthorized
from hotswap.domain.vocabulary import Role
from hotswap.security import jwt, signing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = signing.generate_signing_key()
JWKS = signing.public_jwks(KEY)


def issue(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "key": KEY,
        "issuer": "hotswap",
        "audience": "hotswap",
        "subject": "ann",
        "roles": [Role.VIEWER, Role.ADMIN],
        "lifetime": timedelta(hours=1),
        "now": NOW,
    }
    return jwt.issue_token(**{**arguments, **changes})


def verify(token: str, *, jwks: dict[str, Any] = JWKS, now: datetime = NOW) -> Principal:
    return jwt.verify_token(token, jwks=jwks, issuer="hotswap", audience="hotswap", now=now)


def part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def test_a_token_says_who_calls() -> None:
    assert verify(issue()) == Principal("ann", frozenset({Grant(Role.ADMIN), Grant(Role.VIEWER)}))


def test_a_role_may_be_of_one_team() -> None:
    told = verify(issue(roles=[Role.VIEWER, Grant(Role.ADMIN, "fraud: eu")]))
    assert told == Principal("ann", frozenset({Grant(Role.VIEWER), Grant(Role.ADMIN, "fraud: eu")}))


def test_the_key_is_named_in_token_and_key_set_and_its_private_part_stays_here() -> None:
    assert part(issue(), 0) == {"alg": "ES256", "typ": "JWT", "kid": JWKS["keys"][0]["kid"]}
    assert "d" in KEY
    assert "d" not in JWKS["keys"][0]


def test_no_two_tokens_are_the_same() -> None:
    assert part(issue(), 1)["jti"] != part(issue(), 1)["jti"]


def test_while_a_key_is_rotated_both_count() -> None:
    new = signing.generate_signing_key()
    both = signing.public_jwks(KEY, new)
    assert verify(issue(), jwks=both) == verify(issue(key=new), jwks=both)


@pytest.mark.parametrize(
    ("token", "now"),
    [
        pytest.param(issue(), NOW + timedelta(hours=1, minutes=1), id="expired"),
        pytest.param(issue(issuer="other"), NOW, id="issuer"),
        pytest.param(issue(audience="other"), NOW, id="audience"),
        pytest.param(issue(key=signing.generate_signing_key()), NOW, id="unknown key"),
        pytest.param(issue(key={**signing.generate_signing_key(), "kid": KEY["kid"]}), NOW, id="key with our kid"),
        pytest.param(issue()[:-4] + "AAAA", NOW, id="signature"),
        pytest.param("", NOW, id="empty"),
        pytest.param("a.b.c", NOW, id="no token"),
        pytest.param("é.é.é", NOW, id="not ascii"),
    ],
)
def test_anything_else_is_refused(token: str, now: datetime) -> None:
    with pytest.raises(Unauthorized):
        verify(token, now=now)


def test_unsigned_and_symmetric_tokens_are_refused() -> None:
    claims = issue().split(".")[1]
    for algorithm in ("none", "HS256"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": KEY["kid"]}).encode()).decode()
        with pytest.raises(Unauthorized):
            verify(f"{header.rstrip('=')}.{claims}.")


@pytest.mark.parametrize("unknown", ["Root", "payments:Root", ":Viewer", "payments:TrafficAgent", "", 5])
def test_a_role_that_we_do_not_know_is_refused_rather_than_dropped(unknown: Any) -> None:
    with pytest.raises(Unauthorized, match="role"):
        verify(issue(roles=[Role.VIEWER, unknown]))
