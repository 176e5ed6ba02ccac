"""Tokens that Envoy accepts, and those among them that may infer. Pure.

A request's route asks for a token; what the token says is kept beside the request, and the virtual host lets only those
through that have a role that may infer. Routes for others say so themselves, so that a forgotten route is closed.
"""

import json
from collections.abc import Sequence

from hotswap.domain.access import Grant
from hotswap.domain.headers import SUBJECT_HEADER
from hotswap.domain.vocabulary import Role
from hotswap.settings import OidcSettings, SecuritySettings
from serving.envoy.config import Json

JWT_FILTER = "envoy.filters.http.jwt_authn"
RBAC_FILTER = "envoy.filters.http.rbac"

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_STEERING = (Role.ML_ENGINEER, Role.ADMIN)
_INFERRING = (Role.APPLICATION, Role.DATA_SCIENTIST, Role.ML_ENGINEER, Role.ADMIN)
# Where what a token says is kept, by who has issued it.
_OURS, _THEIRS = "jwt", "oidc"

AUTHENTICATED: Json = {JWT_FILTER: {"@type": f"{_HTTP}.jwt_authn.v3.PerRouteConfig", "requirement_name": "token"}}
"""Filters of an inference route: it wants a token; which roles may infer is the virtual host's to say."""

OPEN_TO_ALL: Json = {RBAC_FILTER: {"@type": f"{_HTTP}.rbac.v3.RBACPerRoute"}}
"""Filters of a route that is anybody's, or that the API guards."""


def jwt_filter(jwks: Json, security: SecuritySettings, oidc: OidcSettings, issuer_jwks: Json | None) -> Json:
    """Return the filter with its keys inline: Envoy would not read a watched key file again.

    `issuer_jwks` are the other issuer's keys; as long as they are None its tokens are unknown.
    """
    providers = {_OURS: _provider(jwks, security.issuer, security.audience, _OURS, "sub")}
    if oidc.issuer is not None and issuer_jwks is not None:
        providers[_THEIRS] = _provider(issuer_jwks, oidc.issuer, oidc.audience, _THEIRS, oidc.subject_claim)
    any_of_them = [{"provider_name": name} for name in providers]
    return {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": JWT_FILTER,
        "typed_config": {
            "@type": f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "requirement_map": {
                "token": any_of_them[0] if len(any_of_them) == 1 else {"requires_any": {"requirements": any_of_them}}
            },
        },
    }


def may_infer(oidc: OidcSettings, team: str | None = None) -> Json:
    """Return the policy of inference: a role that counts everywhere or in this team, ours or the issuer's."""
    return _has_role(_INFERRING, oidc, team, policy="inference")


def may_steer(oidc: OidcSettings, team: str | None) -> Json:
    """Return the filters of a route by which a model of this team is steered."""
    return AUTHENTICATED | _has_role(_STEERING, oidc, team, policy="steering")


def _has_role(wanted: Sequence[Role], oidc: OidcSettings, team: str | None, *, policy: str) -> Json:
    grants = [str(Grant(role, whose)) for whose in dict.fromkeys((None, team)) for role in wanted]
    roles = [_says([_OURS, "roles"], grant) for grant in grants]
    meant = [name for name in sorted(oidc.roles) if not set(grants).isdisjoint(oidc.roles[name])]
    names = [_says([_THEIRS, *oidc.roles_claim], name) for name in meant]
    allowed = {"permissions": [{"any": True}], "principals": [*roles, *names]}
    rules = {"action": "ALLOW", "policies": {policy: allowed}}
    return {RBAC_FILTER: {"@type": f"{_HTTP}.rbac.v3.RBACPerRoute", "rbac": {"rules": rules}}}


def of_team(oidc: OidcSettings, team: str | None) -> Json:
    """Return the filters of a route to a model of this team; without a team those of the virtual host are enough."""
    return AUTHENTICATED if team is None else AUTHENTICATED | may_infer(oidc, team)


def subjects(oidc: OidcSettings) -> list[list[str]]:
    """Return where the token filter stores the caller, for each issuer."""
    return [[_OURS, "sub"], *([[_THEIRS, oidc.subject_claim]] if oidc.issuer is not None else [])]


def _provider(jwks: Json, issuer: str, audience: str, kept_as: str, subject: str) -> Json:
    return {
        "issuer": issuer,
        "audiences": [audience],
        "local_jwks": {"inline_string": json.dumps(jwks, sort_keys=True)},
        "payload_in_metadata": kept_as,
        "claim_to_headers": [{"header_name": SUBJECT_HEADER, "claim_name": subject}],
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }


def _says(path: list[str], word: str) -> Json:
    """Match a claim that is this word, or a list that contains it."""
    exactly = {"string_match": {"exact": word}}
    either = {"or_match": {"value_matchers": [{"list_match": {"one_of": exactly}}, exactly]}}
    matcher = {"filter": JWT_FILTER, "path": [{"key": name} for name in path], "value": either}
    return {"sourced_metadata": {"metadata_source": "DYNAMIC", "metadata_matcher": matcher}}
