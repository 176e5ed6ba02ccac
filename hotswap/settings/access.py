"""Settings of access: which tokens are accepted, and how often a caller may call."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from hotswap.domain.access import Grant
from hotswap.domain.vocabulary import Role
from hotswap.schemas.fields import Duration
from hotswap.settings.section import Section


class SecuritySettings(Section):
    issuer: str = Field("hotswap", description="the `iss` of the tokens that HotSwap makes and accepts")
    audience: str = Field("hotswap", description="the `aud` of the tokens that HotSwap makes and accepts")
    signing_key_file: Path | None = Field(
        None,
        description="private JWK (ES256), or a set of them, that signs HotSwap's own tokens; only the API needs it",
    )
    jwks_file: Path = Field(description="public keys with which Envoy and the API check tokens")
    users_file: Path | None = Field(
        None, description="TOML of local users for login, each with an argon2 hash and roles"
    )
    token_lifetime: Duration = Field(timedelta(hours=1), description="how long a token from a login is valid")
    service_token_lifetime: Duration = Field(
        timedelta(minutes=10),
        gt=timedelta(0),
        le=timedelta(minutes=10),
        description="how long a token is valid that a service token was exchanged for, even if that is revoked",
    )


def is_private_address(host: str) -> bool:
    """Return whether what is sent there stays on this machine."""
    return host in {"localhost", "127.0.0.1", "::1"}


ConfiguredGrant = Annotated[str, AfterValidator(lambda text: str(Grant.parse(text)))]


class OidcSettings(Section):
    """The issuer whose tokens are accepted beside HotSwap's own, and what they mean."""

    issuer: str | None = Field(
        None,
        description="the `iss` of an OpenID Connect issuer, such as `https://login.example.com/realms/ml`; none: off",
    )
    audience: str = Field("hotswap", description="the `aud` that the issuer's tokens must have")
    subject_claim: str = Field("sub", description="the claim with the caller's name, such as `preferred_username`")
    roles_claim: tuple[str, ...] = Field(
        ("groups",),
        min_length=1,
        description='the claim with the names of roles: `["realm_access", "roles"]` is `roles` in `realm_access`',
    )
    roles: dict[str, tuple[ConfiguredGrant, ...]] = Field(
        {},
        description="the roles for each of these names, everywhere or in a team: "
        '`{"ml-platform": ["Admin"], "payments-ds": ["Viewer", "payments:DataScientist"]}`; other names are ignored',
    )
    refresh: Duration = Field(
        timedelta(minutes=5), ge=timedelta(seconds=1), description="how often the issuer's keys are fetched"
    )
    cache_file: Path = Field(
        Path("/var/lib/hotswap/oidc.json"),
        description="file that stores the issuer's keys, for a start while the issuer is down",
    )

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, issuer: str | None) -> str | None:
        if issuer is None:
            return None
        address = urlsplit(issuer)
        if address.scheme != "https" and not (address.scheme == "http" and is_private_address(address.hostname or "")):
            raise ValueError("must be an https:// address, since its keys decide which tokens are accepted")
        return issuer

    @field_validator("roles")
    @classmethod
    def _are_peoples(cls, roles: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if any(Grant.parse(grant).role is Role.TRAFFIC_AGENT for grants in roles.values() for grant in grants):
            raise ValueError("TrafficAgent is the traffic agents' own role, which an issuer can't give")
        return roles


PerMinute = Annotated[int, Field(ge=0)]


class LimitSettings(Section):
    """Limits on how often a caller may call; 0 is no limit. Aborts, rollbacks and other commands are never limited."""

    registrations: PerMinute = Field(20, description="versions that one caller may register in any minute; 0: no limit")
    deployments: PerMinute = Field(10, description="deployments that one caller may start in any minute; 0: no limit")
    logins_of_user: PerMinute = Field(
        10, description="logins of one user from one address in any minute, right or wrong; 0: no limit"
    )
    logins_from_address: PerMinute = Field(60, description="logins from one address in any minute; 0: no limit")
    exchanges_of_token: PerMinute = Field(
        300, description="exchanges of one service token for a bearer token in any minute; 0: no limit"
    )
    exchanges_from_address: PerMinute = Field(
        600, description="exchanges from one address in any minute, right or wrong; 0: no limit"
    )
    inference: int = Field(
        0, ge=0, description="requests for inference a second that each proxy allows one caller; 0: no limit"
    )
