"""One key signs, all are published, and a new one is known before it signs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hotswap.bootstrap import credentials
from hotswap.bootstrap.layout import Layout
from hotswap.cli.app import app
from hotswap.domain.errors import Conflict, NotFound, Unauthorized
from hotswap.security import jwt, signing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIRST = signing.generate_signing_key()


def kids(keys: list[signing.Jwk]) -> list[str]:
    return [key["kid"] for key in keys]


def test_a_new_key_signs_from_its_moment_on_and_is_published_before() -> None:
    keys = signing.rotated([FIRST], signs_at=NOW + MINUTE)
    assert kids(signing.public_jwks(*keys)["keys"]) == kids(keys)
    assert signing.signing_key(keys, now=NOW) == FIRST
    assert signing.signing_key(keys, now=NOW + MINUTE) == keys[1]


def test_a_file_of_one_key_is_a_set_of_one() -> None:
    assert signing.read_keys(json.dumps(FIRST)) == [FIRST]
    assert signing.read_keys(signing.write_keys([FIRST])) == [FIRST]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": []}', '{"keys": [1]}', '{"keys": {"kid": "a"}}', "null"])
def test_what_is_no_key_is_told_so(content: str) -> None:
    with pytest.raises(ValueError, match=r"signing key|Expecting value"):
        signing.read_keys(content)


def test_no_key_has_a_name_that_a_command_line_takes_for_an_option() -> None:
    names = [signing.generate_signing_key()["kid"] for _ in range(500)]
    assert [name for name in names if name.startswith("-")] == []


def test_nothing_private_is_published() -> None:
    public = signing.public_jwks(*signing.rotated([FIRST], signs_at=NOW))["keys"]
    assert all(key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in public)


def test_the_key_that_signs_is_not_retired_and_an_unknown_one_is_told() -> None:
    keys = signing.rotated([FIRST], signs_at=NOW)
    assert signing.retired(keys, FIRST["kid"], now=NOW) == keys[1:]
    with pytest.raises(Conflict, match="hotswap keys rotate"):
        signing.retired(keys, keys[1]["kid"], now=NOW)
    with pytest.raises(Conflict):
        signing.retired(keys, FIRST["kid"], now=NOW - MINUTE)
    with pytest.raises(NotFound, match="hotswap keys list"):
        signing.retired(keys, "unknown", now=NOW)


def believed(secret: credentials.Credentials, token: str) -> bool:
    jwks = json.loads(secret.jwks_file.read_text())
    try:
        jwt.verify_token(token, jwks=jwks, issuer="hotswap", audience="hotswap", now=datetime.now(UTC))
    except Unauthorized:
        return False
    return True


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.secrets.mkdir()
    return made


def run(place: Layout, *words: str) -> list[dict[str, str]]:
    done = CliRunner().invoke(app, ["keys", *words, "--data-dir", str(place.data), "--json"])
    assert done.exit_code == 0, done.output
    assert '"d"' not in done.output
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_stacks_own_tokens_follow_a_rotation(place: Layout) -> None:
    secret = credentials.load(place)
    old_token = secret.token
    (first,) = run(place, "list")
    later, signs = run(place, "rotate")
    assert (later["use"], signs) == ("will sign", first)
    assert secret.token == old_token, "the new key does not sign yet"
    now_signs, will_sign, still = run(place, "rotate", "--now")
    assert {now_signs["use"], will_sign["use"], still["use"]} == {"signs", "will sign", "is still believed"}
    new_token = secret.token
    assert new_token != old_token
    assert believed(secret, old_token), "until its key is retired"
    run(place, "retire", first["kid"])
    assert not believed(secret, old_token)
    assert believed(secret, new_token)
    assert believed(secret, secret.agent_token_file.read_text())
    assert credentials.load(place).token == new_token, "a later start finds the same keys"


def test_the_key_that_signs_can_not_be_retired_from_the_command_line(place: Layout) -> None:
    (first,) = run(place, "list")
    refused = CliRunner().invoke(app, ["keys", "retire", first["kid"], "--data-dir", str(place.data)])
    assert refused.exit_code == 1
    assert "signs tokens now" in refused.stderr


def test_a_key_of_before_that_begins_with_a_hyphen_is_retired_behind_two(place: Layout) -> None:
    old = credentials.load(place)
    hyphened = {**FIRST, "kid": "-VjiwvQJmjFA4laXKbWfcTbP"}
    keys = signing.read_keys(old.signing_key_file.read_text())
    old.signing_key_file.write_text(signing.write_keys([hyphened, *signing.rotated(keys, signs_at=NOW)]))
    done = CliRunner().invoke(app, ["keys", "retire", "--data-dir", str(place.data), "--json", "--", hyphened["kid"]])
    assert done.exit_code == 0, done.output
    assert hyphened["kid"] not in kids(json.loads(done.stdout))


def test_where_no_keys_are_none_are_made(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["keys", "rotate", "--data-dir", str(tmp_path / "absent")])
    assert refused.exit_code == 1
    assert not (tmp_path / "absent").exists()
