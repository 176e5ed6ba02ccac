"""Envoy's routes: which arm of which model answers a request.

Pure. The stable comes first and the candidate last, always: their order decides which entities a hash sends to the
candidate. The salt keeps the same entities from being every model's guinea pigs. A retry stays with the arm that was
chosen, and only what no model has seen is retried, with one exception: what a candidate fails is answered by the stable
(`serving/envoy/fallback.py`), unless its version was asked for by name.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from hotswap.domain.errors import ModelNotFound, NotFound, VersionNotFound
from hotswap.domain.headers import (
    APPLICATION_HEADER,
    ARM_HEADER,
    BACKTEST_HEADER,
    CANDIDATE_REFUSED_HEADER,
    CANDIDATE_STATUS_HEADER,
    CAUSE_HEADER,
    CLIENT_ADDRESS_HEADER,
    ENTITY_HEADER,
    ENVIRONMENT_HEADER,
    FALLBACK_HEADER,
    RAYS_HEADERS,
    REFUSED_HEADER,
    UNREAD_HEADERS,
    UNWATCHED_HEADER,
    VERSION_HEADER,
)
from hotswap.domain.traffic import Arm, Route, TrafficPlan
from hotswap.domain.vocabulary import ArmName, ChosenBy, Environment
from hotswap.settings import OidcSettings
from serving.envoy.clusters import AGENT, API
from serving.envoy.config import Json
from serving.envoy.fallback import RETRY_OR_FALL_BACK, fallback_of, overwritten
from serving.envoy.open_inference import A_MODELS_PATH, METHODS, MODELS, OPEN, server_routes
from serving.envoy.pinned_clusters import chosen_by, chosen_cluster, is_tester
from serving.envoy.tokens import AUTHENTICATED, OPEN_TO_ALL, may_infer, may_steer, of_team

INFERENCE = "/api/v1/inference"
WITHDRAWALS = "/api/v1/proxy/withdrawals"
"""Answered by this proxy's own agent (`serving/withdrawal_endpoint.py`)."""

ROUTE_CONFIG = "gateway"

OFF = OidcSettings()
RETRY_AFTER_SECONDS = 1
"""Said to who is turned away: replicas come back within seconds, and every try is a new chance."""


def route_configuration(plan: TrafficPlan, oidc: OidcSettings = OFF, *, is_ready: bool = True) -> Json:
    """Return every model's routes, and those to the API; HotSwap's internal paths are answered 404.

    `is_ready` is the answer of `/v2/health/ready`: whether every arm with weight has a replica that answers. The routes
    of `/v2` stand behind those of `/api/v1`, which they must not slow down.
    """

    def guard(route: Route) -> Json:
        return of_team(oidc, route.team)

    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "virtual_hosts": [
            {
                "name": ROUTE_CONFIG,
                "domains": ["*"],
                "retry_policy": RETRY_OR_FALL_BACK,
                "include_request_attempt_count": True,
                "request_headers_to_add": [overwritten(UNWATCHED_HEADER, "?1")],
                "request_headers_to_remove": [FALLBACK_HEADER, CAUSE_HEADER, APPLICATION_HEADER, BACKTEST_HEADER],
                "response_headers_to_remove": [CANDIDATE_STATUS_HEADER, CANDIDATE_REFUSED_HEADER, REFUSED_HEADER],
                "typed_per_filter_config": may_infer(oidc),
                "routes": [
                    _no_grpc(),
                    _not_here(
                        {"path_separated_prefix": "/internal"},
                        NotFound,
                        "there is nothing here",
                        typed_per_filter_config=OPEN_TO_ALL,
                    ),
                    _to_api({"safe_regex": {"regex": f"{INFERENCE}/[^/]+/(async|status|outcome)"}}),
                    _to_api({"path": f"{INFERENCE}/outcomes"}),
                    _nothing_but_inference(),
                    *(entry for route in plan.routes for entry in _model_routes(route, INFERENCE, guard(route))),
                    *_not_in_this_environment(plan, INFERENCE, guard),
                    _no_such_model(INFERENCE),
                    *server_routes(is_ready=is_ready),
                    _nothing_but_the_protocol(),
                    *(_no_other_method(method, paths) for method, paths in METHODS.items()),
                    *(entry for route in plan.routes for entry in _open_routes(route, guard(route))),
                    *_not_in_this_environment(plan, MODELS, guard),
                    _no_such_model(OPEN),
                    *(_to_agent(route, may_steer(oidc, route.team)) for route in plan.routes),
                    _no_such_model(WITHDRAWALS),
                    _to_api({"prefix": "/"}),
                ],
            }
        ],
    }


def _no_grpc() -> Json:
    """Answer gRPC with 415: Envoy writes its own errors to such a client as 200, which would hide a broken version."""
    grpc = {"name": "content-type", "string_match": {"safe_regex": {"regex": "application/grpc(\\+.*)?"}}}
    return {
        "match": {"prefix": "/", "headers": [grpc]},
        "direct_response": {"status": 415, "body": {"inline_string": "there is no gRPC here: send JSON over HTTP"}},
        "typed_per_filter_config": OPEN_TO_ALL,
    }


def _nothing_but_inference() -> Json:
    """Answer 404 to paths other than inference, such as warm-up, which replicas serve on their own ports only."""
    return _nothing_but(
        INFERENCE,
        f"{INFERENCE}/[^/?]+(/batch)?(\\?.*)?",
        f"inference is asked at {INFERENCE}/MODEL and {INFERENCE}/MODEL/batch",
    )


def _nothing_but_the_protocol() -> Json:
    paths = f"{MODELS}/MODEL and {MODELS}/MODEL/versions/VERSION, each also with /ready or /infer"
    return _nothing_but(OPEN, A_MODELS_PATH, f"there are {OPEN}, {OPEN}/health/live, {OPEN}/health/ready, {paths}")


def _no_other_method(method: str, paths: str) -> Json:
    """Answer other methods with 405: a replica's own 405 would count as its version's answer, and hide errors."""
    asked = {"name": ":path", "string_match": {"safe_regex": {"regex": paths}}}
    return {
        "match": {
            "path_separated_prefix": MODELS,
            "headers": [asked, _exactly(":method", method) | {"invert_match": True}],
        },
        "direct_response": {"status": 405, "body": {"inline_string": f"this is asked by {method} only"}},
        "response_headers_to_add": [overwritten("allow", method)],
        "typed_per_filter_config": AUTHENTICATED,
    }


def _nothing_but(root: str, paths: str, said: str) -> Json:
    wanted = {"name": ":path", "string_match": {"safe_regex": {"regex": paths}}, "invert_match": True}
    return _not_here(
        {"path_separated_prefix": root, "headers": [wanted]}, NotFound, said, typed_per_filter_config=AUTHENTICATED
    )


def _no_such_model(root: str) -> Json:
    return _not_here(
        {"path_separated_prefix": root},
        ModelNotFound,
        "no model of this name has a version that serves, in any environment",
        typed_per_filter_config=AUTHENTICATED,
    )


def _not_in_this_environment(plan: TrafficPlan, root: str, guard: Callable[[Route], Json]) -> Iterator[Json]:
    """Answer 404 for models that serve, but not in this environment.

    These routes stand behind those of the models that serve in it.
    """
    models: dict[str, list[Route]] = {}
    for route in plan.routes:
        models.setdefault(route.model, []).append(route)
    for model, routes in models.items():
        serves = " and ".join(sorted(route.environment for route in routes))
        yield _not_here(
            {"path_separated_prefix": f"{root}/{model}"},
            ModelNotFound,
            f"{model} serves in {serves} and not in the environment that {ENVIRONMENT_HEADER} names (Production without"
            f" it), of which there are {', '.join(Environment)}",
            typed_per_filter_config=guard(routes[0]),
        )


def _open_routes(route: Route, guard: Json) -> list[Json]:
    """Return the same routes for the Open Inference Protocol, whose path may name the version that is to answer."""
    environment = _environment_matcher(route.environment)
    versions = f"{MODELS}/{route.model}/versions"
    named = [
        _to_arm(
            {"path_separated_prefix": f"{versions}/{version}", "headers": [environment]},
            route,
            name=name,
            arm=arm,
            how=ChosenBy.VERSION,
            guard=guard,
        )
        for name, arm, _ in route.arms
        for version in sorted({arm.version, quote(arm.version)})
    ]
    other = _no_such_version({"path_separated_prefix": versions}, [environment], route, guard)
    return [*named, other, *_model_routes(route, MODELS, guard)]


def _model_routes(route: Route, root: str, guard: Json) -> list[Json]:
    prefix = {"path_separated_prefix": f"{root}/{route.model}"}
    environment = _environment_matcher(route.environment)
    by_version = [
        _to_arm(
            prefix | {"headers": [environment, _exactly(VERSION_HEADER, arm.version)]},
            route,
            name=name,
            arm=arm,
            how=ChosenBy.VERSION,
            guard=guard,
        )
        for name, arm, _ in route.arms
    ]
    wrong_version = _no_such_version(
        prefix, [environment, {"name": VERSION_HEADER, "present_match": True}], route, guard
    )
    split = {
        "match": prefix | {"headers": [environment]},
        "route": {
            "weighted_clusters": {
                "clusters": [_share(route, name, arm, weight) for name, arm, weight in route.arms],
                "use_hash_policy": {"value": True},
            },
            **_action(route),
        },
        "request_headers_to_add": [chosen_by(ChosenBy.WEIGHT)],
        "request_headers_to_remove": [*UNREAD_HEADERS, *RAYS_HEADERS],
        "typed_per_filter_config": guard,
    }
    shed = _shed(route, prefix | {"headers": [environment]}, guard)
    return [*by_version, wrong_version, *_for_testers(prefix, environment, route, guard), *shed, split]


def _no_such_version(path: Json, headers: list[Json], route: Route, guard: Json) -> Json:
    return _not_here(
        path | {"headers": headers},
        VersionNotFound,
        f"this version of {route.model} is not up in {route.environment}",
        typed_per_filter_config=guard,
    )


def _shed(route: Route, match: Json, guard: Json) -> list[Json]:
    """Turn that share away, by chance and not by entity: 503 now is better than an answer that never comes."""
    if route.shed == 0:
        return []
    share = {"numerator": route.shed, "denominator": "TEN_THOUSAND"}
    return [
        {
            "match": match | {"runtime_fraction": {"default_value": share, "runtime_key": f"hotswap.shed.{route.key}"}},
            "direct_response": {"status": 503},
            "response_headers_to_add": [overwritten("retry-after", str(RETRY_AFTER_SECONDS))],
            "typed_per_filter_config": guard,
        }
    ]


def _share(route: Route, name: ArmName, arm: Arm, weight: int) -> Json:
    fallback = fallback_of(route)
    if name is ArmName.CANDIDATE and fallback is not None:
        return {"name": fallback.cluster, "weight": weight, **_marks_of_who_answers()}
    return {"name": arm.application, "weight": weight, **_marks(name, arm)}


def _for_testers(path: Json, environment: Json, route: Route, guard: Json) -> list[Json]:
    if route.candidate is None or route.stable is None:
        return []
    match = path | {"headers": [environment, is_tester()]}
    return [
        _to_arm(match, route, name=ArmName.CANDIDATE, arm=route.candidate, how=ChosenBy.TESTER, guard=guard),
    ]


def _to_arm(match: Json, route: Route, *, name: ArmName, arm: Arm, how: ChosenBy, guard: Json) -> Json:
    marks = _marks(name, arm)
    return {
        "match": match,
        "route": {
            "cluster": chosen_cluster(route, arm.application),
            **_action(route, prefix=arm.application),
        },
        **marks,
        "request_headers_to_add": [*marks["request_headers_to_add"], chosen_by(how)],
        "request_headers_to_remove": [*UNREAD_HEADERS, *RAYS_HEADERS],
        "typed_per_filter_config": guard,
    }


def _action(route: Route, *, prefix: str = "%UPSTREAM_CLUSTER%") -> Json:
    """Return the route's action; `prefix` is the application's name, which its replicas expect before the path."""
    return {
        "timeout": "60s",
        "path_rewrite": f"/{prefix}%PATH(NQ:PATH)%",
        "hash_policy": [
            {
                "header": {
                    "header_name": ENTITY_HEADER,
                    "regex_rewrite": {"pattern": {"regex": "^"}, "substitution": f"{route.salt}:"},
                },
                "terminal": True,
            }
        ],
    }


def _marks(name: ArmName, arm: Arm) -> Json:
    """Return headers that tell replica and client which arm answers; a client can't send its own."""
    return {
        "request_headers_to_add": [overwritten(ARM_HEADER, name)],
        "response_headers_to_add": [overwritten(VERSION_HEADER, arm.version), overwritten(ARM_HEADER, name)],
    }


def _marks_of_who_answers() -> Json:
    """Return the same headers where only the last try knows the arm: each try writes its own into the request."""
    told = (VERSION_HEADER, ARM_HEADER, FALLBACK_HEADER, CAUSE_HEADER)
    return {"response_headers_to_add": [overwritten(name, f"%REQ({name})%") for name in told]}


def _to_api(path: Json) -> Json:
    return {
        "match": path,
        "route": {"cluster": API, "timeout": "30s", "retry_policy": {"retry_on": "connect-failure", "num_retries": 2}},
        "request_headers_to_add": [overwritten(CLIENT_ADDRESS_HEADER, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
        "typed_per_filter_config": OPEN_TO_ALL,
    }


def _to_agent(route: Route, guard: Json) -> Json:
    return {
        "match": {"path": f"{WITHDRAWALS}/{route.key}"},
        "route": {"cluster": AGENT, "timeout": "30s", "retry_policy": {"num_retries": 0}},
        "typed_per_filter_config": guard,
    }


def _not_here(match: Json, error: type[NotFound], message: str, **more: Any) -> Json:
    """Answer 404. The error's code travels as the route's name, which the gateway's error format shows.

    That format is `local_replies.local_replies`.
    """
    return {
        "name": error.code,
        "match": match,
        "direct_response": {"status": 404, "body": {"inline_string": message}},
        **more,
    }


def _exactly(name: str, value: str) -> Json:
    return {"name": name, "string_match": {"exact": value}}


def _environment_matcher(environment: Environment) -> Json:
    if environment is Environment.PRODUCTION:
        return {
            "name": ENVIRONMENT_HEADER,
            "string_match": {"safe_regex": {"regex": f"({re.escape(environment)})?"}},
            "treat_missing_header_as_empty": True,
        }
    return _exactly(ENVIRONMENT_HEADER, environment)
