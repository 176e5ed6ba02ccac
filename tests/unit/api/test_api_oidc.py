"""Another issuer's tokens at the API: believed by its keys, kept while it is away, and mapped to our roles."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import ValidationError

from api.auth import TokenVerifier
from hotswap.domain.errors import Unauthorized, Unavailable
from hotswap.domain.vocabulary import Role
from hotswap.security import oidc
from hotswap.security.oidc import IssuerKeys
from hotswap.settings import OidcSettings, SecuritySettings, Settings
from tests.fixtures.api import app_of
from tests.fixtures.api_settings import bearer
from tests.fixtures.issuer import Issuer, ec_key, rsa_key
from tests.fixtures.patience import patient

pytestmark = pytest.mark.slow  # each starts an issuer

ROLES = {"ml-platform": ["Admin"], "payments-ds": ["Viewer", "payments:DataScientist"]}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(autouse=True)
def _no_pause_between_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "LEAST_SECONDS_BETWEEN", 0.0)


def settings_of(issuer: Issuer, tmp_path: Path, **more: Any) -> OidcSettings:
    told = {"issuer": issuer.url, "roles": ROLES, "cache_file": tmp_path / "oidc.json", **more}
    return OidcSettings.model_validate(told)


class Believer:
    """The tokens of an API that was just started."""

    def __init__(self, settings: OidcSettings, own: SecuritySettings) -> None:
        self.keys = IssuerKeys(settings)
        self.tokens = TokenVerifier(own, settings, self.keys)

    async def subject(self, headers: dict[str, str]) -> str:
        return (await self.tokens.principal(headers["authorization"].removeprefix("Bearer "))).subject

    async def grants(self, headers: dict[str, str]) -> set[str]:
        principal = await self.tokens.principal(headers["authorization"].removeprefix("Bearer "))
        return {str(grant) for grant in principal.grants}


@pytest.fixture
def believer(issuer: Issuer, tmp_path: Path, settings: Settings) -> Believer:
    return Believer(settings_of(issuer, tmp_path), settings.security)


async def test_what_the_claim_names_is_what_the_setting_says_of_it(believer: Believer, issuer: Issuer) -> None:
    assert await believer.subject(issuer.token()) == "u-1"
    for groups, expected in (
        (["ml-platform"], {"Admin"}),
        (["payments-ds", "others"], {"Viewer", "payments:DataScientist"}),
        ("ml-platform", {"Admin"}),
        (["Admin", 5, None, {"a": 1}], set()),
        ({"ml-platform": True}, set()),
        (None, set()),
    ):
        assert await believer.grants(issuer.token(groups=groups)) == expected, groups


async def test_the_claim_may_lie_deeper_and_another_may_name_the_caller(
    issuer: Issuer, tmp_path: Path, settings: Settings
) -> None:
    deeper = settings_of(issuer, tmp_path, roles_claim=["realm_access", "roles"], subject_claim="preferred_username")
    believer = Believer(deeper, settings.security)
    headers = issuer.token(preferred_username="ann", realm_access={"roles": ["ml-platform"]})
    assert (await believer.subject(headers), await believer.grants(headers)) == ("ann", {"Admin"})
    assert await believer.grants(issuer.token(preferred_username="ann", realm_access=["roles"])) == set()
    with pytest.raises(Unauthorized, match="preferred_username"):
        await believer.subject(issuer.token())


async def test_own_tokens_go_on_beside_it(believer: Believer, settings: Settings) -> None:
    own = {"authorization": bearer(settings, Role.VIEWER)["Authorization"]}
    assert await believer.grants(own) == {"Viewer"}


async def test_the_keys_outlive_the_issuer_and_our_own_restart(
    believer: Believer, issuer: Issuer, tmp_path: Path, settings: Settings
) -> None:
    headers = issuer.token()
    assert await believer.subject(headers) == "u-1"
    await issuer.stop()
    await believer.keys.refresh()
    assert await believer.subject(headers) == "u-1"
    again = Believer(settings_of(issuer, tmp_path), settings.security)
    assert await again.subject(headers) == "u-1", "from the file"
    with pytest.raises(Unavailable, match="can't be read now"):
        await Believer(settings_of(issuer, tmp_path / "elsewhere"), settings.security).subject(headers)
    await issuer.start()
    assert await again.subject(issuer.token()) == "u-1"


async def test_a_key_that_is_new_is_asked_for_and_one_that_is_gone_is_refused(
    believer: Believer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_first = issuer.token()
    await believer.subject(by_first)
    issuer.keys.append(ec_key("second"))
    by_second = issuer.token()
    assert [await believer.subject(each) for each in (by_first, by_second)] == ["u-1", "u-1"]
    del issuer.keys[0]
    await believer.keys.refresh()
    with pytest.raises(Unauthorized):
        await believer.subject(by_first)
    monkeypatch.setattr(oidc, "LEAST_SECONDS_BETWEEN", 60.0)
    asked = len(issuer.asked)
    for number in range(5):
        with pytest.raises(Unauthorized):
            await believer.subject(issuer.token(key=ec_key(f"made-up-{number}")))
    assert len(issuer.asked) == asked, "nobody makes us ask more often by naming keys"


async def test_what_is_not_its_own_and_not_for_us_is_refused(believer: Believer, issuer: Issuer) -> None:
    for headers in (
        issuer.token(aud="somebody-else"),
        issuer.token(aud=None),
        issuer.token(exp=1),
        issuer.token(exp=None),
        issuer.token(sub=None),
        issuer.token(sub=5),
        issuer.token(iss="https://elsewhere.example.com"),
        issuer.token(key=rsa_key("first")),
        signed_with_a_public_key(issuer),
    ):
        with pytest.raises(Unauthorized):
            await believer.subject(headers)


def signed_with_a_public_key(issuer: Issuer) -> dict[str, str]:
    """As if what everybody may know were a secret that the issuer and we share."""
    claims = issuer.token()["authorization"].removeprefix("Bearer ").split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').decode().rstrip("=")
    key = issuer.keys[0]
    assert isinstance(key, RSAKey)
    mac = hmac.digest(key.as_pem(private=False), f"{header}.{claims}".encode(), "sha256")
    return {"authorization": f"Bearer {header}.{claims}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"}


async def test_a_document_that_is_another_ones_is_not_believed(believer: Believer, issuer: Issuer) -> None:
    headers = issuer.token()
    for wrong in ({"issuer": "http://127.0.0.1/other"}, {"jwks_uri": "http://keys.example.com/"}, {"jwks_uri": 5}, {}):
        said, issuer.says = issuer.says, {**issuer.says, **wrong} if wrong else {}
        with pytest.raises(Unavailable):
            await believer.subject(headers)
        issuer.says = said
    assert await believer.subject(headers) == "u-1"


async def test_keys_that_do_not_sign_are_left_out(issuer: Issuer) -> None:
    signs = issuer.keys[0].as_dict(private=True)
    encrypts = {**signs, "kid": "enc", "use": "enc"}
    odd = [{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}, {"kty": "RSA", "n": "x", "e": "!", "kid": "broken"}]
    (left,) = oidc.usable({"keys": [*odd, encrypts, signs]})["keys"]
    assert left["kid"] == "first"
    assert "d" not in left
    with pytest.raises(ValueError, match="no key that signs"):
        oidc.usable({"keys": odd})


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.example.com"},
        {"issuer": "login.example.com"},
        {"roles": {"a": ["Root"]}},
        {"roles": {"a": ["TrafficAgent"]}},
        {"roles_claim": []},
    ],
)
def test_a_setting_that_would_let_others_in_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OidcSettings.model_validate(wrong)


@pytest.fixture
def with_issuer(api: httpx.AsyncClient, believer: Believer) -> Iterator[httpx.AsyncClient]:
    state = app_of(api).state
    without = state.parts
    state.parts = replace(without, tokens=believer.tokens)
    yield api
    state.parts = without


async def test_the_api_takes_its_tokens(with_issuer: httpx.AsyncClient, issuer: Issuer) -> None:
    past = await with_issuer.post("/api/v1/models", json={}, headers=issuer.token(groups=["payments-ds"]))
    assert past.status_code == 400  # past the rule, to the body
    refused = await with_issuer.post("/api/v1/models", json={}, headers=issuer.token(groups=["nothing"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert "u-1 has none" in refused.json()["error"]["message"]


async def test_who_has_a_known_key_waits_for_nobody_who_makes_keys_up(
    believer: Believer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = issuer.token()
    await believer.subject(headers)
    going_on = asyncio.Event()

    async def hang() -> None:
        await going_on.wait()

    monkeypatch.setattr(believer.keys, "refresh", hang)
    stranger = asyncio.create_task(believer.subject(issuer.token(key=ec_key("made-up"))))
    await asyncio.sleep(0)
    async with asyncio.timeout(patient(20)):
        assert await believer.subject(headers) == "u-1"
    assert not stranger.done()
    going_on.set()
    with pytest.raises(Unauthorized):
        await stranger


async def test_an_issuer_that_drips_is_given_up_in_time(
    believer: Believer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "PATIENCE_SECONDS", 0.05)

    async def drip() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(believer.keys, "_fetch", drip)
    async with asyncio.timeout(patient(20)):
        await believer.keys.refresh()


@pytest.mark.parametrize("own", [True, False])
async def test_a_header_that_is_nested_without_end_is_no_token(believer: Believer, issuer: Issuer, own: bool) -> None:
    await believer.keys.refresh()
    claims = {"iss": "hotswap" if own else issuer.url}
    deep = b'{"alg":"ES256","a":' + b"[" * 100_000
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (deep, json.dumps(claims).encode(), b"s"))
    with pytest.raises(Unauthorized):
        await believer.subject({"authorization": f"Bearer {'.'.join(parts)}"})
