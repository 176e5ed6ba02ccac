"""No route without a rule, each rule as SPEC words it, and every role against every route."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import iter_route_contexts

from api.auth import Anonymous, Exchange, Rule, rule_of
from api.routing import GuardedRoute
from hotswap.domain.access import Grant
from hotswap.domain.errors import Forbidden, Unauthorized
from hotswap.domain.vocabulary import Role
from hotswap.security import service_tokens
from hotswap.security.jwt import issue_token
from hotswap.security.signing import generate_signing_key, public_jwks
from hotswap.settings import Settings
from tests.fixtures.api import app_of
from tests.fixtures.api_settings import SIGNING_KEY, bearer
from tests.fixtures.described import described_app

ADMIN, ENGINEER, SCIENTIST, APPLICATION, VIEWER, AGENT = (
    Role.ADMIN,
    Role.ML_ENGINEER,
    Role.DATA_SCIENTIST,
    Role.APPLICATION,
    Role.VIEWER,
    Role.TRAFFIC_AGENT,
)


class Where(StrEnum):
    """Whose roles count for a route."""

    EVERYWHERE = auto()
    """Those that count everywhere."""
    IN_TEAM = auto()
    """Those too that count in the team of the model or deployment that the path names."""
    ANYWHERE = auto()
    """Those of any team."""


@dataclass(frozen=True)
class Needs:
    roles: frozenset[Role]
    where: Where


def everywhere(*roles: Role) -> Needs:
    return Needs(frozenset(roles), Where.EVERYWHERE)


def in_team(*roles: Role) -> Needs:
    return Needs(frozenset(roles), Where.IN_TEAM)


def anywhere(*roles: Role) -> Needs:
    return Needs(frozenset(roles), Where.ANYWHERE)


ANYBODY = "anybody"
SERVICE_TOKEN = "a service token"
READ = anywhere(VIEWER, SCIENTIST, ENGINEER, ADMIN)
MAKE, START = in_team(SCIENTIST, ENGINEER, ADMIN), anywhere(SCIENTIST, ENGINEER, ADMIN)
RUN = in_team(ENGINEER, ADMIN)

RULES: dict[tuple[str, str], Needs | str] = {
    ("POST", "/api/v1/authentication/login"): ANYBODY,
    ("POST", "/api/v1/authentication/token"): SERVICE_TOKEN,
    ("GET", "/.well-known/jwks.json"): anywhere(*Role),
    ("GET", "/health"): ANYBODY,
    ("GET", "/health/ready"): ANYBODY,
    ("GET", "/metrics"): READ,
    ("GET", "/swagger"): ANYBODY,
    ("GET", "/swagger/openapi.json"): ANYBODY,
    ("GET", "/swagger/{asset}"): ANYBODY,
    ("POST", "/api/v1/models"): START,
    ("GET", "/api/v1/models"): READ,
    ("GET", "/api/v1/models/{model}"): READ,
    ("DELETE", "/api/v1/models/{model}"): in_team(ADMIN),
    ("PATCH", "/api/v1/models/{model}"): RUN,
    ("PUT", "/api/v1/models/{model}/aliases/{alias}"): RUN,
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}"): RUN,
    ("GET", "/api/v1/models/{model}/versions/{version}/card"): READ,
    ("GET", "/api/v1/models/{model}/versions/{version}/lineage"): READ,
    ("PUT", "/api/v1/models/{model}/versions/{version}/card"): MAKE,
    ("POST", "/api/v1/models/{model}/restore"): in_team(ADMIN),
    ("POST", "/api/v1/models/{model}/versions/{version}/deprecate"): RUN,
    ("POST", "/api/v1/models/{model}/versions/{version}/restore"): RUN,
    ("GET", "/api/v1/models/{model}/versions/{version}/validation"): READ,
    ("POST", "/api/v1/models/{model}/versions/{version}/validation/override"): in_team(ADMIN),
    ("DELETE", "/api/v1/models/{model}/versions/{version}/validation/override"): in_team(ADMIN),
    ("POST", "/api/v1/models/{model}/uploads"): START,
    ("POST", "/api/v1/models/{model}/uploads/{upload_id}/complete"): START,
    ("POST", "/api/v1/artifacts/gc"): everywhere(ADMIN),
    ("GET", "/api/v1/reconciliation"): READ,
    ("POST", "/api/v1/reconciliation"): everywhere(ADMIN),
    ("GET", "/api/v1/models/{model}/history"): READ,
    ("GET", "/api/v1/models/{model}/versions"): READ,
    ("GET", "/api/v1/models/{model}/metrics"): READ,
    ("GET", "/api/v1/models/{model}/versions/{version}"): READ,
    ("GET", "/api/v1/models/{model}/versions/{version}/registration"): READ,
    ("GET", "/api/v1/models/{model}/drift"): READ,
    ("POST", "/api/v1/models/{model}/drift"): MAKE,
    ("GET", "/api/v1/models/{model}/monitoring"): READ,
    ("PUT", "/api/v1/models/{model}/monitoring"): RUN,
    ("GET", "/api/v1/alerts"): READ,
    ("POST", "/api/v1/deployments"): START,
    ("GET", "/api/v1/deployments"): READ,
    ("GET", "/api/v1/deployments/{deployment_id}"): READ,
    ("GET", "/api/v1/deployments/{deployment_id}/explain"): READ,
    ("POST", "/api/v1/deployments/{deployment_id}/replay"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/approve"): RUN,
    ("POST", "/api/v1/deployments/{deployment_id}/reject"): RUN,
    ("POST", "/api/v1/deployments/{deployment_id}/pause"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/resume"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/goto"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/retry"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/scale"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/promote"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/abort"): MAKE,
    ("POST", "/api/v1/deployments/{deployment_id}/rollback"): MAKE,
    ("POST", "/api/v1/inference/outcomes"): anywhere(APPLICATION, SCIENTIST, ENGINEER, ADMIN),
    ("POST", "/api/v1/inference/{model}/async"): in_team(APPLICATION, SCIENTIST, ENGINEER, ADMIN),
    ("GET", "/api/v1/inference/{request_id}/status"): anywhere(APPLICATION, VIEWER, SCIENTIST, ENGINEER, ADMIN),
    ("POST", "/api/v1/inference/{request_id}/outcome"): anywhere(APPLICATION, SCIENTIST, ENGINEER, ADMIN),
    ("POST", "/api/v1/freezes"): everywhere(ENGINEER, ADMIN),
    ("GET", "/api/v1/freezes"): READ,
    ("GET", "/api/v1/freezes/{freeze_id}"): READ,
    ("DELETE", "/api/v1/freezes/{freeze_id}"): everywhere(ENGINEER, ADMIN),
    ("GET", "/api/v1/proxies"): READ,
    ("DELETE", "/api/v1/proxies/{proxy}"): everywhere(ENGINEER, ADMIN),
    ("POST", "/api/v1/tokens"): anywhere(ADMIN),
    ("GET", "/api/v1/tokens"): anywhere(ADMIN),
    ("POST", "/api/v1/tokens/{token}/rotate"): anywhere(ADMIN),
    ("DELETE", "/api/v1/tokens/{token}"): anywhere(ADMIN),
    ("GET", "/api/v1/audit"): READ,
    ("GET", "/internal/traffic/plan"): everywhere(AGENT),
    ("POST", "/internal/traffic/report"): everywhere(AGENT),
    ("DELETE", "/internal/traffic/proxies/{proxy}"): everywhere(AGENT),
}
"""Who may call what; a route that is not here fails. Where one is ANYWHERE and changes something its handler asks whose
model it is, and tests/integration/test_api_teams.py holds it to that."""

IDS = {
    "model": "m",
    "alias": "champion",
    "version": "1.0.0",
    "deployment_id": "dep-1",
    "freeze_id": "frz-1",
    "proxy": "envoy-0",
} | {"upload_id": "upl-1"}
IDS |= {"request_id": "req-1", "token": "tok-1", "upload_id": "upl-1"}


def routes(app: FastAPI) -> list[tuple[str, str, GuardedRoute]]:
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        assert isinstance(route, GuardedRoute), f"{context.path} is not guarded"
        assert route.methods, f"{context.path} has no method"
        found += [(method, context.path or "", route) for method in sorted(route.methods)]
    return found


def needed(path: str, rule: object) -> Needs | str:
    match rule:
        case Anonymous():
            return ANYBODY
        case Exchange():
            return SERVICE_TOKEN
        case Rule(roles=roles, anywhere=True):
            return Needs(roles, Where.ANYWHERE)
        case Rule(roles=roles):
            names_a_model = "{model}" in path or "{deployment_id}" in path
            return Needs(roles, Where.IN_TEAM if names_a_model else Where.EVERYWHERE)
    raise AssertionError(f"{path} has {rule}, which this test doesn't know")


@pytest.mark.slow
def test_every_route_has_the_rule_of_this_table() -> None:
    assert {(method, path): needed(path, rule_of(route)) for method, path, route in routes(described_app())} == RULES


def test_a_route_without_a_rule_can_not_exist() -> None:
    router = APIRouter(route_class=GuardedRoute)

    async def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/open needs exactly one rule"):
        router.get("/open")(forgotten)


class TeamOfAll:
    """Stands in for `PostgresTeams`: every model is of one team."""

    async def of(self, **named: str) -> str:
        assert set(named) <= {"model", "deployment_id"}
        return "payments"


@pytest.fixture
def client(api: httpx.AsyncClient) -> Iterator[httpx.AsyncClient]:
    state = app_of(api).state
    without = state.parts
    state.parts = replace(without, teams=TeamOfAll())
    yield api
    state.parts = without


def is_admitted(grant: Grant, needs: Needs) -> bool:
    counts = (
        grant.team is None
        or {
            Where.EVERYWHERE: False,
            Where.IN_TEAM: grant.team == "payments",
            Where.ANYWHERE: True,
        }[needs.where]
    )
    return counts and grant.role in needs.roles


GUARDED = [(*each, rule_of(each[2])) for each in routes(described_app()) if not isinstance(rule_of(each[2]), Anonymous)]
GRANTS = [Grant(role, team) for role in Role for team in (None, "payments", "fraud") if team is None or role != AGENT]


def asking(client: httpx.AsyncClient, headers: dict[str, str]) -> Request:
    """What a rule looks at, with the names of one model and one deployment in its path."""
    return Request(
        {
            "type": "http",
            "app": app_of(client),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "state": {},
        }
    )


@pytest.mark.slow
async def test_every_role_against_every_route(client: httpx.AsyncClient, settings: Settings) -> None:
    requests = {grant: asking(client, bearer(settings, grant)) for grant in GRANTS}
    for method, path, _, rule in GUARDED:
        needs = RULES[method, path]
        for grant, request in requests.items():
            named = {name: value for name, value in IDS.items() if f"{{{name}}}" in path}
            request.scope["path_params"] = named
            if isinstance(needs, str):
                with pytest.raises(Unauthorized):
                    await rule.admit(request)
            elif is_admitted(grant, needs):
                admitted = await rule.admit(request)
                assert admitted is not None
                assert admitted.subject == "ann"
                assert needs.where is Where.ANYWHERE or admitted.roles & needs.roles, "the handler sees what counted"
            else:
                with pytest.raises(Forbidden, match="this needs the role"):
                    await rule.admit(request)


@pytest.mark.parametrize(("method", "path"), [each[:2] for each in GUARDED])
async def test_who_may_not_is_turned_away_before_the_body_is_read(
    client: httpx.AsyncClient, settings: Settings, method: str, path: str
) -> None:
    needs = RULES[method, path]
    without = bearer(settings, *(set(Role) - (set() if isinstance(needs, str) else needs.roles)))
    for headers, expected in (
        ({}, (401, "UNAUTHORIZED")),
        (without, (401, "UNAUTHORIZED") if needs == SERVICE_TOKEN else (403, "FORBIDDEN")),
    ):
        answer = await client.request(method, path.format(**IDS), content=b"{not json", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
        assert answer.status_code == 403 or answer.headers["www-authenticate"].startswith("Bearer")


async def test_each_role_of_a_rule_gets_past_it(client: httpx.AsyncClient, settings: Settings) -> None:
    for grant in (Grant(SCIENTIST), Grant(ENGINEER), Grant(ADMIN), Grant(ADMIN, "payments")):
        answer = await client.post("/api/v1/models", content=b"{not json", headers=bearer(settings, grant))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("token", ["hst_1a2b3c4d5e6f_" + "x" * 46, "hst_", "minted"])
async def test_a_service_token_opens_nothing_itself(client: httpx.AsyncClient, token: str) -> None:
    token = service_tokens.mint("tok-1a2b3c4d5e6f") if token == "minted" else token
    answer = await client.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "POST /api/v1/authentication/token" in answer.json()["error"]["message"]
    assert token not in answer.text


async def test_a_role_of_another_team_is_told_which_team_it_takes(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    grants = (Grant(ENGINEER, "fraud"), Grant(VIEWER, "payments"))
    answer = await client.delete("/api/v1/models/m/aliases/champion", headers=bearer(settings, *grants))
    assert answer.json()["error"]["message"] == (
        "this needs the role Admin or MLEngineer in the team payments; ann has fraud:MLEngineer, payments:Viewer"
    )


def issued(
    *,
    key: dict[str, Any] | None = None,
    issuer: str = "hotswap",
    audience: str = "hotswap",
    roles: Sequence[Role] = (ADMIN,),
    age: timedelta = timedelta(),
) -> dict[str, str]:
    token = issue_token(
        key=key or SIGNING_KEY,
        issuer=issuer,
        audience=audience,
        subject="ann",
        roles=roles,
        lifetime=timedelta(hours=1),
        now=datetime.now(UTC) - age,
    )
    return {"Authorization": f"Bearer {token}"}


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
        issued(age=timedelta(hours=3)),
    ],
)
async def test_a_token_that_is_not_ours_is_401(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await api.get("/api/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")


async def test_a_rotated_key_is_believed_without_a_restart(api: httpx.AsyncClient, settings: Settings) -> None:
    new = generate_signing_key()
    path = "/api/v1/deployments/dep-1/approve"  # a Viewer may not: 403 shows that the token was believed
    headers = issued(key=new, roles=[Role.VIEWER])
    assert (await api.post(path, headers=headers)).status_code == 401
    file = settings.security.jwks_file
    file.write_text(json.dumps(public_jwks(SIGNING_KEY, new)))
    os.utime(file, ns=(1, 1))
    assert (await api.post(path, headers=headers)).status_code == 403
