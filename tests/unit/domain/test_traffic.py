"""The plan's own rules, and what Envoy is told of it."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import ArmName, Environment
from serving.envoy.admin import AnswerCounters
from serving.envoy.clusters import clusters
from serving.envoy.fallback import fallbacks
from serving.envoy.open_inference import OPEN
from serving.envoy.pinned_clusters import cluster_names
from serving.envoy.routes import INFERENCE, route_configuration
from serving.envoy.tokens import AUTHENTICATED

STABLE = Arm("Production-m-aaaa", "1.0.0", "dep-aaaa")
CANDIDATE = Arm("Production-m-bbbb", "2.0.0", "dep-bbbb")


def route(weight: int, *, stable: Arm | None = STABLE, candidate: Arm | None = CANDIDATE) -> Route:
    return Route(Environment.PRODUCTION, "m", stable, candidate, weight, Fence(1, 1))


@given(weight=st.integers(0, TOTAL_WEIGHT))
def test_weights_sum_to_10000_with_the_stable_first(weight: int) -> None:
    arms = route(weight).arms
    assert [name for name, _, _ in arms] == [ArmName.STABLE, ArmName.CANDIDATE]
    assert sum(share for _, _, share in arms) == TOTAL_WEIGHT


@pytest.mark.parametrize(
    "make",
    [
        lambda: route(-1),
        lambda: route(TOTAL_WEIGHT + 1),
        lambda: route(5, candidate=None),
        lambda: route(5, stable=None),
        lambda: route(0, stable=None, candidate=None),
    ],
)
def test_a_route_that_loses_requests_cannot_be_made(make: Any) -> None:
    with pytest.raises(ValidationFailed):
        make()


@given(st.tuples(st.integers(0, 9), st.integers(0, 9)), st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_of_two_fences_at_most_one_is_newer(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = Fence(*one), Fence(*other)
    assert first.is_newer_than(second) + second.is_newer_than(first) == (one != other)


def test_counts_add_and_subtract_by_bucket() -> None:
    later = Counts(10, 2, 1, latency={"100": 7, "200": 3})
    assert later - Counts(4, 1, 1, latency={"100": 4}) == Counts(6, 1, latency={"100": 3, "200": 3})
    assert Counts() + later == later


def all_routes(plan: TrafficPlan) -> list[dict[str, Any]]:
    (host,) = route_configuration(plan)["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def test_every_route_names_a_cluster_that_exists_and_needs_a_token() -> None:
    plan = TrafficPlan(3, (route(1_000),))
    known = {cluster["name"] for cluster in clusters(dict.fromkeys(cluster_names(plan), ()), api="127.0.0.1:1")}
    known |= {each.cluster for each in fallbacks(plan)}
    inferring = 0
    for entry in all_routes(plan):
        action = entry.get("route", {})
        names = {action["cluster"]} if "cluster" in action else set()
        names |= {arm["name"] for arm in action.get("weighted_clusters", {}).get("clusters", ())}
        assert names <= known
        if names - {"api"}:
            inferring += 1
            assert entry["typed_per_filter_config"] == AUTHENTICATED
    expected = "in two forms, one by weight, one by each arm's version, and one for testers; one by a version's path"
    assert inferring == 2 * 4 + 2, expected


def test_the_order_keeps_what_is_ours_closed() -> None:
    grpc, first, *others, everything_else = all_routes(TrafficPlan())
    assert grpc["direct_response"]["status"] == 415
    assert first["match"]["path_separated_prefix"] == "/internal"
    assert first["direct_response"]["status"] == 404
    for root in (INFERENCE, OPEN):
        (unknown,) = [entry for entry in others if entry["match"] == {"path_separated_prefix": root}]
        assert unknown["direct_response"]["status"] == 404
    assert everything_else["route"]["cluster"] == "api"


def test_the_hash_is_salted_by_the_deployment() -> None:
    salts = {json.dumps(all_routes(TrafficPlan(1, (each,)))).count("m:dep-bbbb:") for each in (route(1), route(9))}
    assert salts == {10}
    assert "m:dep-aaaa:" in json.dumps(all_routes(TrafficPlan(1, (route(0, candidate=None),))))


def test_every_status_can_end_and_no_end_goes_on() -> None:
    for status in DeploymentStatus:
        reached, todo = {status}, [status]
        while todo:
            following = TRANSITIONS[todo.pop()] - reached
            reached |= following
            todo += following
        assert any(each.is_terminal for each in reached), status
    assert {status for status in DeploymentStatus if status.is_terminal} == {
        DeploymentStatus.ACTIVE,
        DeploymentStatus.ROLLED_BACK,
        DeploymentStatus.CANCELLED,
        DeploymentStatus.FAILED,
    }


def test_counts_only_grow_over_restarts(tmp_path: Any) -> None:
    from serving.counting import GrowingCounts

    path = tmp_path / "counts.json"
    counting = GrowingCounts(path)
    counting.add(AnswerCounters(100, {"a": Counts(50, 5)}), serving={"a"}, now=1_000)
    counting.add(AnswerCounters(101, {"a": Counts(60, 6)}), serving={"a"}, now=1_001)
    again = GrowingCounts(path)
    again.add(AnswerCounters(102, {"a": Counts(61, 6)}), serving={"a"}, now=1_002)
    assert again.totals["a"] == Counts(61, 6)
    again.add(AnswerCounters(3, {"a": Counts(70, 0)}), serving={"a"}, now=1_010)
    assert again.totals["a"] == Counts(131, 6)
    again.add(AnswerCounters(4, {"a": Counts(1, 0)}), serving={"a"}, now=1_011)
    assert again.totals["a"] == Counts(132, 6)


@pytest.mark.parametrize("figure", [each.name for each in fields(Counts)])
def test_counts_of_which_any_figure_shrank_are_no_counts_of_the_same_proxies(figure: str) -> None:
    many = {each.name: {"5000": 5} if each.name == "latency" else 5 for each in fields(Counts)}
    before, fewer = Counts(**many), {"5000": 4} if figure == "latency" else 4  # type: ignore[arg-type]
    after = replace(before, **{figure: fewer})  # type: ignore[arg-type]
    assert after.has_shrunk(before)
    assert not before.has_shrunk(before)
    assert not (before + after).has_shrunk(before)
    assert (before + after) - after == before
