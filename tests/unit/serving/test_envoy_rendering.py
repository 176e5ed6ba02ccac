"""What Envoy is told, for any plan: every request has one answer, and none without a token and a role."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.app import KEEP_ALIVE_SECONDS
from hotswap.domain.headers import (
    APPLICATION_HEADER,
    ARM_HEADER,
    BACKTEST_HEADER,
    CHOSEN_BY_HEADER,
    ENVIRONMENT_HEADER,
    FALLBACK_HEADER,
    TESTER_HEADER,
)
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import ArmName, ChosenBy, Environment
from hotswap.settings import OidcSettings
from serving.envoy.caller_rate_limit import limit_of_each_caller
from serving.envoy.clusters import AGENT, API, IDLE_SECONDS, clusters
from serving.envoy.fallback import CANDIDATE, INSIDE, composite_cluster, fallbacks
from serving.envoy.open_inference import MODELS, OPEN
from serving.envoy.pinned_clusters import application_of, cluster_names
from serving.envoy.routes import INFERENCE, WITHDRAWALS, route_configuration
from serving.envoy.tokens import AUTHENTICATED, OPEN_TO_ALL, RBAC_FILTER, may_infer, may_steer, subjects

pytestmark = pytest.mark.slow  # each renders many plans


def arm(environment: Environment, model: str, deployment: str) -> Arm:
    return Arm(f"{environment}-{model}-{deployment}", f"{len(deployment)}.0.0", f"dep-{deployment}")


@st.composite
def routes(draw: st.DrawFn) -> Route:
    environment = draw(st.sampled_from(list(Environment)))
    model = draw(st.sampled_from(["fraud", "churn", "eta.v2"]))
    stable, candidate = arm(environment, model, "a"), arm(environment, model, "bb")
    match draw(st.sampled_from(["both", "stable", "candidate"])):
        case "stable":
            return Route(environment, model, stable, None, 0, Fence(1, 1))
        case "candidate":
            return Route(environment, model, None, candidate, TOTAL_WEIGHT, Fence(1, 1))
        case _:
            weight = draw(st.integers(0, TOTAL_WEIGHT))
            return Route(environment, model, stable, candidate, weight, Fence(1, 1), fallback=draw(st.booleans()))


plans = st.builds(
    TrafficPlan,
    generation=st.integers(0, 9),
    routes=st.lists(routes(), max_size=4, unique_by=lambda route: route.key).map(tuple),
)


def entries(plan: TrafficPlan) -> list[dict[str, Any]]:
    (host,) = route_configuration(plan)["virtual_hosts"]
    assert host["domains"] == ["*"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def to_models(plan: TrafficPlan, root: str = INFERENCE) -> list[dict[str, Any]]:
    """The ways to models of one form of inference."""
    return [entry for entry in entries(plan) if is_below(entry, root) and clusters_of(entry)]


def is_below(entry: dict[str, Any], root: str) -> bool:
    return bool(entry["match"].get("path_separated_prefix", "").startswith(f"{root}/"))


def splits(plan: TrafficPlan) -> list[dict[str, Any]]:
    return [entry for entry in to_models(plan) if "weighted_clusters" in entry["route"]]


def clusters_of(entry: dict[str, Any]) -> set[str]:
    action = entry.get("route", {})
    weighted = action.get("weighted_clusters", {}).get("clusters", ())
    return {each["name"] for each in weighted} | ({action["cluster"]} if "cluster" in action else set())


def one_route(
    weight: int = 1_000, environment: Environment = Environment.PRODUCTION, *, fallback: bool = True
) -> TrafficPlan:
    stable, candidate = arm(environment, "fraud", "a"), arm(environment, "fraud", "bb")
    return TrafficPlan(1, (Route(environment, "fraud", stable, candidate, weight, Fence(1, 1), fallback),))


@given(plan=plans)
def test_every_cluster_that_a_route_names_exists(plan: TrafficPlan) -> None:
    own = {cluster["name"] for cluster in clusters(dict.fromkeys(cluster_names(plan), ()), api="127.0.0.1:1")}
    assert own >= {API, *plan.applications}
    assert {application_of(name) for name in own} == {API, *plan.applications}
    composites = [composite_cluster(each) for each in fallbacks(plan)]
    assert {name for cluster in composites for name in tries(cluster)} <= {CANDIDATE, *plan.applications}
    known = own | {cluster["name"] for cluster in composites} | {AGENT}  # the agent's is in the bootstrap
    assert all(clusters_of(entry) <= known for entry in entries(plan))


def tries(composite: dict[str, Any]) -> list[str]:
    return [each["name"] for each in composite["cluster_type"]["typed_config"]["clusters"]]


@given(plan=plans)
def test_a_candidate_falls_back_only_where_there_is_a_stable_and_it_may_and_never_when_asked_by_name(
    plan: TrafficPlan,
) -> None:
    expected = {
        route.candidate.application for route in plan.routes if route.candidate and route.stable and route.fallback
    }
    assert {each.candidate.application for each in fallbacks(plan)} == expected
    composites = {each.cluster for each in fallbacks(plan)}
    assert {name for split in splits(plan) for name in clusters_of(split) if INSIDE in name} == composites
    others = [entry for entry in to_models(plan) if entry not in splits(plan)]
    assert not [name for entry in others for name in clusters_of(entry) if INSIDE in name]


def test_the_candidate_has_the_first_try_and_the_stable_every_other() -> None:
    (fallback,) = fallbacks(one_route())
    (host,) = route_configuration(one_route())["virtual_hosts"]
    first, *others = tries(composite_cluster(fallback))
    assert first == CANDIDATE
    assert others == [fallback.stable.application] * host["retry_policy"]["num_retries"]


@given(plan=plans)
def test_every_way_to_a_model_needs_a_token_and_a_role(plan: TrafficPlan) -> None:
    # A way by each arm's version and one by weight; of a split route one for testers too.
    assert len(to_models(plan)) == sum({1: 2, 2: 4}[len(route.arms)] for route in plan.routes)
    found = [entry for entry in entries(plan) if clusters_of(entry) - {API, AGENT}]
    assert found == [*to_models(plan), *to_models(plan, MODELS)]
    for root in (INFERENCE, OPEN):
        found += [entry for entry in entries(plan) if root in entry["match"].get("path_separated_prefix", "")]
    assert all(entry["typed_per_filter_config"] == AUTHENTICATED for entry in found)
    (host,) = route_configuration(plan)["virtual_hosts"]
    assert host["typed_per_filter_config"][RBAC_FILTER]["rbac"]["rules"]["action"] == "ALLOW"
    opened = [entry for entry in host["routes"] if entry["typed_per_filter_config"] == OPEN_TO_ALL]
    assert all(clusters_of(entry) <= {API} for entry in opened)


@given(plan=plans)
def test_the_way_to_the_agent_is_open_only_to_those_who_may_steer_the_model(plan: TrafficPlan) -> None:
    to_agent = [entry for entry in entries(plan) if AGENT in clusters_of(entry)]
    assert [entry["match"] for entry in to_agent] == [{"path": f"{WITHDRAWALS}/{route.key}"} for route in plan.routes]
    for entry, route in zip(to_agent, plan.routes, strict=True):
        assert entry["typed_per_filter_config"] == may_steer(OidcSettings(), route.team)
        assert AUTHENTICATED.items() <= entry["typed_per_filter_config"].items()
        assert not {"Viewer", "DataScientist", "Application"} & granted(entry["typed_per_filter_config"])


def granted(filters: dict[str, Any]) -> set[str]:
    """The roles that one of the policies of a route lets in."""
    (policy,) = filters[RBAC_FILTER]["rbac"]["rules"]["policies"].values()
    matched = [each["sourced_metadata"]["metadata_matcher"]["value"]["or_match"] for each in policy["principals"]]
    return {each["value_matchers"][1]["string_match"]["exact"] for each in matched}


def test_a_caller_is_counted_as_one_whoever_issued_his_token() -> None:
    oidc = OidcSettings(issuer="https://login.example.com", subject_claim="email")
    (limit,) = limit_of_each_caller(5, subjects(oidc))
    actions = [each["actions"][0]["metadata"] for each in limit["typed_config"]["rate_limits"]]
    assert [[step["key"] for step in each["metadata_key"]["path"]] for each in actions] == [
        ["jwt", "sub"],
        ["oidc", "email"],
    ]
    assert {each["descriptor_key"] for each in actions} == {"caller"}


def test_a_teams_routes_let_its_roles_in_and_no_others() -> None:
    oidc = OidcSettings(
        issuer="https://login.example.com",
        roles={"ds": ("payments:Admin",), "all": ("Application",), "no": ("Viewer",)},
    )

    def words(team: str | None) -> set[str]:
        rules = may_infer(oidc, team)[RBAC_FILTER]["rbac"]["rules"]["policies"]["inference"]["principals"]
        matched = [each["sourced_metadata"]["metadata_matcher"]["value"]["or_match"] for each in rules]
        return {each["value_matchers"][1]["string_match"]["exact"] for each in matched}

    roles = {"Application", "DataScientist", "MLEngineer", "Admin"}
    assert words(None) == roles | {"all"}
    assert words("payments") == roles | {f"payments:{role}" for role in roles} | {"all", "ds"}


@given(plan=plans)
def test_the_open_protocols_ways_are_the_same_and_by_the_version_in_the_path(plan: TrafficPlan) -> None:
    for route in plan.routes:
        alone = TrafficPlan(1, (route,))
        same = json.loads(json.dumps(to_models(alone)).replace(f"{INFERENCE}/", f"{MODELS}/"))
        by_path, others = to_models(alone, MODELS)[: len(route.arms)], to_models(alone, MODELS)[len(route.arms) :]
        assert others == same
        for entry, (_, arm, _) in zip(by_path, route.arms, strict=True):
            assert entry["match"]["path_separated_prefix"] == f"{MODELS}/{route.model}/versions/{arm.version}"
            assert {application_of(name) for name in clusters_of(entry)} == {arm.application}


@pytest.mark.parametrize("version", ["", "/versions/1.0.0"])
@pytest.mark.parametrize("query", ["", "?a=/infer"])
@pytest.mark.parametrize(("resource", "method"), [("", "GET"), ("/ready", "GET"), ("/infer", "POST")])
def test_only_what_the_protocol_knows_reaches_a_replica(version: str, query: str, resource: str, method: str) -> None:
    """A replica refuses the rest, and refusals that are counted as answers would hide a candidate's errors."""
    path = f"{MODELS}/fraud{version}{resource}{query}"
    for asked in ("GET", "POST", "PUT", "DELETE", "HEAD"):
        first = next(entry for entry in entries(one_route()) if takes(entry, asked, path))
        if asked == method:
            assert clusters_of(first)
        else:
            assert first["direct_response"]["status"] == 405
            assert [each["header"] for each in first["response_headers_to_add"]] == [{"key": "allow", "value": method}]
            assert first["typed_per_filter_config"] == AUTHENTICATED


def takes(entry: dict[str, Any], method: str, path: str) -> bool:
    """As Envoy matches, of a request in Production that has no headers."""
    bare, match = path.partition("?")[0], entry["match"]
    places: dict[str, Callable[[Any], bool]] = {
        "prefix": bare.startswith,
        "path": bare.__eq__,
        "path_separated_prefix": lambda prefix: f"{bare}/".startswith(f"{prefix}/"),
        "safe_regex": lambda given: bool(re.fullmatch(given["regex"], bare)),
    }
    headers = {":path": path, ":method": method}

    def fits(matcher: dict[str, Any]) -> bool:
        value = headers.get(matcher["name"], "" if matcher.get("treat_missing_header_as_empty") else None)
        wanted = matcher.get("string_match", {})
        exact, regex = wanted.get("exact"), wanted.get("safe_regex", {}).get("regex")
        found = (
            value is not None and (exact is None or value == exact) and (not regex or bool(re.fullmatch(regex, value)))
        )
        return found is not matcher.get("invert_match", False)

    return all(places[key](match[key]) for key in places.keys() & match.keys()) and all(
        fits(each) for each in match.get("headers", ())
    )


def test_a_version_is_found_however_its_path_spells_it() -> None:
    route = Route(Environment.PRODUCTION, "fraud", Arm("a", "1.0.0+b", "dep-a"), None, 0, Fence(1, 1))
    prefixes = [entry["match"]["path_separated_prefix"] for entry in to_models(TrafficPlan(1, (route,)), MODELS)]
    assert prefixes[:2] == [f"{MODELS}/fraud/versions/1.0.0%2Bb", f"{MODELS}/fraud/versions/1.0.0+b"]


def test_only_health_is_anybodys() -> None:
    open_ = [entry for entry in entries(one_route()) if entry.get("typed_per_filter_config") != AUTHENTICATED]
    assert [entry["match"]["path"] for entry in open_ if entry["match"].get("path", "").startswith(OPEN)] == [
        "/v2/health/live",
        "/v2/health/ready",
    ]


@given(plan=plans)
def test_weights_sum_to_10000_with_the_stable_first_and_the_candidate_last(plan: TrafficPlan) -> None:
    found = splits(plan)
    assert len(found) == len(plan.routes)
    for route, entry in zip(plan.routes, found, strict=True):
        shares = entry["route"]["weighted_clusters"]["clusters"]
        assert sum(share["weight"] for share in shares) == TOTAL_WEIGHT
        assert [share["name"].partition(INSIDE)[0] for share in shares] == [
            each.application for _, each, _ in route.arms
        ]


@given(weight=st.integers(0, TOTAL_WEIGHT))
def test_a_weight_changes_the_two_weights_and_nothing_else(weight: int) -> None:
    def without_weights(plan: TrafficPlan) -> str:
        (split,) = splits(plan)
        for share in split["route"]["weighted_clusters"]["clusters"]:
            del share["weight"]
        return json.dumps(split)

    assert without_weights(one_route(weight)) == without_weights(one_route(0))


def test_each_deployment_shuffles_its_entities_anew() -> None:
    def salt(deployment: str) -> str:
        stable, candidate = arm(Environment.PRODUCTION, "fraud", "a"), arm(Environment.PRODUCTION, "fraud", deployment)
        (split,) = splits(TrafficPlan(1, (Route(Environment.PRODUCTION, "fraud", stable, candidate, 1, Fence(1, 1)),)))
        (policy,) = split["route"]["hash_policy"]
        assert policy["terminal"]
        found: str = policy["header"]["regex_rewrite"]["substitution"]
        return found

    assert salt("bb") == "fraud:dep-bb:"
    assert salt("cc") == "fraud:dep-cc:"


@pytest.mark.parametrize("weight", [1, 9])
def test_every_way_to_a_model_is_shuffled_by_the_deployment_that_is_rolled_out(weight: int) -> None:
    plan = one_route(weight)
    ways = [*to_models(plan), *to_models(plan, MODELS)]
    assert [json.dumps(entry).count("fraud:dep-bb:") for entry in ways] == [1] * 10
    assert json.dumps(entries(plan)).count("fraud:dep-bb:") == 10


def test_what_serves_alone_is_shuffled_by_its_own_deployment() -> None:
    stable = arm(Environment.PRODUCTION, "fraud", "a")
    alone = Route(Environment.PRODUCTION, "fraud", stable, None, 0, Fence(1, 1))
    assert "fraud:dep-a:" in json.dumps(entries(TrafficPlan(1, (alone,))))


def test_only_production_answers_where_no_environment_is_named() -> None:
    (production,) = splits(one_route())[0]["match"]["headers"]
    assert production["name"] == ENVIRONMENT_HEADER
    assert production["treat_missing_header_as_empty"]
    (staging,) = splits(one_route(environment=Environment.STAGING))[0]["match"]["headers"]
    assert staging == {"name": ENVIRONMENT_HEADER, "string_match": {"exact": "Staging"}}


def test_a_version_is_looked_at_before_the_split_and_an_unknown_one_is_404() -> None:
    stable, candidate, wrong, _, split = entries(one_route())[5:10]
    for entry, version in ((stable, "1.0.0"), (candidate, "2.0.0")):
        assert {"name": "x-hotswap-version", "string_match": {"exact": version}} in entry["match"]["headers"]
    assert wrong["direct_response"]["status"] == 404
    assert {"name": "x-hotswap-version", "present_match": True} in wrong["match"]["headers"]
    assert "weighted_clusters" in split["route"]


def test_a_client_cannot_say_which_arm_it_is() -> None:
    (host,) = route_configuration(one_route())["virtual_hosts"]
    assert {FALLBACK_HEADER, APPLICATION_HEADER, BACKTEST_HEADER} <= set(host["request_headers_to_remove"])
    shares = splits(one_route(fallback=False))[0]["route"]["weighted_clusters"]["clusters"]
    for share, name in zip(shares, (ArmName.STABLE, ArmName.CANDIDATE), strict=True):
        (added,) = share["request_headers_to_add"]
        assert added == {"header": {"key": ARM_HEADER, "value": name}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        assert {each["header"]["key"] for each in share["response_headers_to_add"]} == {
            "x-hotswap-version",
            "x-hotswap-arm",
        }


def marks(entry: dict[str, Any]) -> dict[str, str]:
    """What is overwritten in every request that takes this way."""
    added = entry["request_headers_to_add"]
    assert {each["append_action"] for each in added} == {"OVERWRITE_IF_EXISTS_OR_ADD"}
    return {each["header"]["key"]: each["header"]["value"] for each in added}


@given(plan=plans)
def test_only_the_weights_choice_goes_where_the_judge_counts_while_a_candidate_is_judged(plan: TrafficPlan) -> None:
    ways = [*to_models(plan), *to_models(plan, MODELS)]
    for entry in ways:
        by_weight = marks(entry)[CHOSEN_BY_HEADER] == ChosenBy.WEIGHT
        assert by_weight == ("weighted_clusters" in entry["route"])
    judged = {arm.application for route in plan.routes if len(route.arms) == 2 for _, arm, _ in route.arms}
    chosen = [entry for entry in ways if marks(entry)[CHOSEN_BY_HEADER] != ChosenBy.WEIGHT]
    assert not judged & {name for entry in chosen for name in clusters_of(entry)}
    for entry in chosen:
        (cluster,) = clusters_of(entry)
        assert entry["route"]["path_rewrite"].startswith(f"/{application_of(cluster)}%"), "its replicas' own prefix"


@given(route=routes())
def test_a_tester_is_led_to_the_candidate_and_only_where_one_is_beside_a_stable(route: Route) -> None:
    ways = [entry for entry in to_models(TrafficPlan(1, (route,))) if TESTER_HEADER in json.dumps(entry["match"])]
    if route.stable is None or route.candidate is None:
        assert ways == []
        return
    (way,) = ways
    assert clusters_of(way) == {f"{route.candidate.application}+chosen"}
    assert marks(way) == {ARM_HEADER: ArmName.CANDIDATE, CHOSEN_BY_HEADER: ChosenBy.TESTER}


@given(plan=plans)
def test_our_own_business_is_closed_and_an_unknown_model_never_reaches_the_api(plan: TrafficPlan) -> None:
    grpc, first, *others, everything_else = entries(plan)
    assert grpc["direct_response"]["status"] == 415
    assert first["match"]["path_separated_prefix"] == "/internal"
    assert first["direct_response"]["status"] == 404
    for root in (INFERENCE, OPEN):
        *known, unknown = [entry for entry in others if root in entry["match"].get("path_separated_prefix", "")]
        assert unknown["match"] == {"path_separated_prefix": root}
        assert unknown["match"] not in [entry["match"] for entry in known]
        assert unknown["direct_response"]["status"] == 404
    assert (everything_else["match"]["prefix"], everything_else["route"]["cluster"]) == ("/", API)


def test_an_idle_connection_is_closed_here_before_its_server_closes_it() -> None:
    """A request that met its end was answered 503: the API closed after 5 s what Envoy kept for an hour."""
    for cluster in clusters({"app": ["127.0.0.1:1"]}, api="127.0.0.1:3"):
        (options,) = cluster["typed_extension_protocol_options"].values()
        assert options["common_http_protocol_options"]["idle_timeout"] == f"{IDLE_SECONDS}s"
    assert IDLE_SECONDS < KEEP_ALIVE_SECONDS


def test_a_clients_errors_cannot_eject_a_replica() -> None:
    _, cluster = clusters({"app": ["127.0.0.1:1", "127.0.0.1:2"]}, api="127.0.0.1:3")
    detection = cluster["outlier_detection"]
    assert detection["split_external_local_origin_errors"]
    assert detection["enforcing_consecutive_5xx"] == detection["enforcing_consecutive_gateway_failure"] == 0
    (group,) = cluster["load_assignment"]["endpoints"]
    assert [each["endpoint"]["address"]["socket_address"]["port_value"] for each in group["lb_endpoints"]] == [1, 2]
