"""No route without a rule, and each rule as SPEC words it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from api.app import assemble
from api.auth import Anonymous, Rule, rule_of
from api.routing import GuardedRoute
from hotswap.domain.vocabulary import Role
from hotswap.security import generate_signing_key, issue_token
from hotswap.settings import Settings
from tests.fixtures.api import SIGNING_KEY, bearer

ADMIN, ENGINEER, SCIENTIST = Role.ADMIN, Role.ML_ENGINEER, Role.DATA_SCIENTIST
READERS = {Role.VIEWER, SCIENTIST, ENGINEER, ADMIN}
MAKERS = {SCIENTIST, ENGINEER, ADMIN}

RULES: dict[tuple[str, str], set[Role] | None] = {
    ("POST", "/api/v1/authentication/login"): None,
    ("GET", "/health"): None,
    ("GET", "/health/ready"): None,
    ("GET", "/swagger"): None,
    ("GET", "/swagger/start.js"): None,
    ("GET", "/swagger/openapi.json"): None,
    ("GET", "/swagger/{asset}"): None,
    ("POST", "/api/v1/models"): MAKERS,
    ("GET", "/api/v1/models"): READERS,
    ("GET", "/api/v1/models/{model}"): READERS,
    ("DELETE", "/api/v1/models/{model}"): {ADMIN},
    ("PATCH", "/api/v1/models/{model}"): {ENGINEER, ADMIN},
    ("PUT", "/api/v1/models/{model}/aliases/{alias}"): {ENGINEER, ADMIN},
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}"): {ENGINEER, ADMIN},
    ("GET", "/api/v1/models/{model}/versions/{version}/card"): READERS,
    ("GET", "/api/v1/models/{model}/versions/{version}/lineage"): READERS,
    ("PUT", "/api/v1/models/{model}/versions/{version}/card"): MAKERS,
    ("POST", "/api/v1/models/{model}/restore"): {ADMIN},
    ("POST", "/api/v1/models/{model}/versions/{version}/deprecate"): {ENGINEER, ADMIN},
    ("POST", "/api/v1/models/{model}/versions/{version}/restore"): {ENGINEER, ADMIN},
    ("GET", "/api/v1/models/{model}/versions/{version}/validation"): READERS,
    ("POST", "/api/v1/models/{model}/versions/{version}/validation/override"): {ADMIN},
    ("DELETE", "/api/v1/models/{model}/versions/{version}/validation/override"): {ADMIN},
    ("GET", "/api/v1/models/{model}/history"): READERS,
    ("GET", "/api/v1/models/{model}/versions"): READERS,
    ("GET", "/api/v1/models/{model}/metrics"): READERS,
    ("GET", "/api/v1/models/{model}/versions/{version}"): READERS,
    ("GET", "/api/v1/models/{model}/versions/{version}/registration"): READERS,
    ("GET", "/api/v1/models/{model}/drift"): READERS,
    ("POST", "/api/v1/models/{model}/drift"): MAKERS,
    ("GET", "/api/v1/models/{model}/monitoring"): READERS,
    ("PUT", "/api/v1/models/{model}/monitoring"): {ENGINEER, ADMIN},
    ("GET", "/api/v1/alerts"): READERS,
    ("POST", "/api/v1/deployments"): MAKERS,
    ("GET", "/api/v1/deployments"): READERS,
    ("GET", "/api/v1/deployments/{deployment_id}"): READERS,
    ("GET", "/api/v1/deployments/{deployment_id}/explain"): READERS,
    ("POST", "/api/v1/deployments/{deployment_id}/replay"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/approve"): {ENGINEER, ADMIN},
    ("POST", "/api/v1/deployments/{deployment_id}/reject"): {ENGINEER, ADMIN},
    ("POST", "/api/v1/deployments/{deployment_id}/pause"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/resume"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/goto"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/retry"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/scale"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/promote"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/abort"): MAKERS,
    ("POST", "/api/v1/deployments/{deployment_id}/rollback"): MAKERS,
    ("POST", "/api/v1/inference/outcomes"): {Role.APPLICATION, *MAKERS},
    ("POST", "/api/v1/inference/{request_id}/outcome"): {Role.APPLICATION, *MAKERS},
    ("POST", "/api/v1/freezes"): {ENGINEER, ADMIN},
    ("GET", "/api/v1/freezes"): READERS,
    ("GET", "/api/v1/freezes/{freeze_id}"): READERS,
    ("DELETE", "/api/v1/freezes/{freeze_id}"): {ENGINEER, ADMIN},
    ("GET", "/api/v1/audit"): READERS,
    ("GET", "/internal/traffic/plan"): {Role.TRAFFIC_AGENT},
    ("POST", "/internal/traffic/report"): {Role.TRAFFIC_AGENT},
}
"""Who may call what; None is anybody."""


def routes(app: FastAPI) -> list[tuple[str, str, APIRoute]]:
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        assert isinstance(route, GuardedRoute), f"{context.path} is not guarded"
        found += [(method, context.path or "", route) for method in sorted(route.methods)]
    return found


def test_every_route_has_the_rule_of_this_table() -> None:
    rules = {}
    for method, path, route in routes(assemble()):
        rule = rule_of(route)
        rules[method, path] = set(rule.roles) if isinstance(rule, Rule) else None
        assert isinstance(rule, Rule | Anonymous)
    assert rules == RULES


def test_a_route_without_a_rule_can_not_exist() -> None:
    router = APIRouter(route_class=GuardedRoute)

    async def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/open needs exactly one rule"):
        router.get("/open")(forgotten)


GUARDED = [(method, path, roles) for (method, path), roles in RULES.items() if roles is not None]


@pytest.mark.parametrize(("method", "path", "roles"), GUARDED)
async def test_strangers_and_wrong_roles_are_turned_away_before_the_body_is_read(
    api: httpx.AsyncClient, settings: Settings, method: str, path: str, roles: set[Role]
) -> None:
    path = path.format(
        model="m",
        alias="champion",
        version="1.0.0",
        deployment_id="dep-1",
        freeze_id="frz-1",
        request_id="req-1",
    )
    stranger = await api.request(method, path, content=b"{not json")
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert stranger.headers["www-authenticate"].startswith("Bearer")
    others = bearer(settings, *(set(Role) - roles))
    refused = await api.request(method, path, content=b"{not json", headers=others)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_each_role_of_a_rule_gets_past_it(api: httpx.AsyncClient, settings: Settings) -> None:
    for role in MAKERS:
        answer = await api.post("/api/v1/models", content=b"{not json", headers=bearer(settings, role))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


def issued(*, key: dict[str, object] | None = None, **changes: object) -> dict[str, str]:
    claims = {
        "issuer": "hotswap",
        "audience": "hotswap",
        "subject": "ann",
        "roles": [ADMIN],
        "lifetime": timedelta(hours=1),
        "now": datetime.now(UTC),
        **changes,
    }
    return {"Authorization": f"Bearer {issue_token(key=key or SIGNING_KEY, **claims)}"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer not.a.token"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        issued(key=generate_signing_key()),
        issued(issuer="somebody else"),
        issued(audience="somebody else"),
        issued(now=datetime.now(UTC) - timedelta(hours=3)),
    ],
)
async def test_a_token_that_is_not_ours_is_401(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await api.get("/api/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")


async def test_a_rotated_key_is_believed_without_a_restart(api: httpx.AsyncClient, settings: Settings) -> None:
    import json
    import os

    from hotswap.security import public_jwks

    new = generate_signing_key()
    path = "/api/v1/deployments/dep-1/approve"  # a Viewer may not: 403 shows that the token was believed
    headers = issued(key=new, roles=[Role.VIEWER])
    assert (await api.post(path, headers=headers)).status_code == 401
    file = settings.security.jwks_file
    file.write_text(json.dumps(public_jwks(SIGNING_KEY, new)))
    os.utime(file, ns=(1, 1))
    assert (await api.post(path, headers=headers)).status_code == 403
