"""Resources of Ray's cluster by its state API (`/api/v0`, module `StateHead` of its dashboard), and other users' share.

HotSwap's own replicas are not counted here, nor those that drain: what they hold is known from the rows that want
them. Others are seen where they hold actors or placement groups, such as a training job does; a plain task that takes a
GPU for a while is not, and what it takes then shows as replicas that wait.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from hotswap.domain.resources import NOTHING, Amount, Cluster, Node
from serving.answers import answering, readable

LIMIT = 10_000
"""The most that the state API answers."""
NODES = f"/api/v0/nodes?limit={LIMIT}&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
ACTORS = f"/api/v0/actors?detail=1&limit={LIMIT}&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
GROUPS = (
    f"/api/v0/placement_groups?detail=1&limit={LIMIT}&filter_keys=state&filter_predicates=%3D&filter_values=CREATED"
)

STATE = "Ray's state API"

_OUR_REPLICA = "#Replica#"

JsonObject = Mapping[str, Any]


async def read_cluster(http: httpx.AsyncClient) -> Cluster:
    """Read the cluster. Raises Unavailable, also for an answer that is none."""
    with answering(STATE):
        answers = [(await http.get(path)).raise_for_status() for path in (NODES, ACTORS, GROUPS)]
    with readable(STATE):
        nodes, actors, groups = [rows(each.json()) for each in answers]
        return cluster(nodes, actors, groups)


def rows(answer: JsonObject) -> list[JsonObject]:
    try:
        found: list[JsonObject] = answer["data"]["result"]["result"]
    except (KeyError, TypeError):
        raise ValueError(f"Ray's state API answers {answer.get('msg') or answer}") from None
    return found


def cluster(nodes: Iterable[JsonObject], actors: Iterable[JsonObject], groups: Iterable[JsonObject]) -> Cluster:
    held: dict[str | None, Amount] = {}
    for node, resources in (*_of_actors(actors), *_of_groups(groups)):
        held[node] = held.get(node, NOTHING) + _amount(resources)
    return Cluster(tuple(Node(_amount(node["resources_total"]), held.get(node["node_id"], NOTHING)) for node in nodes))


def _of_actors(actors: Iterable[JsonObject]) -> list[tuple[str | None, JsonObject]]:
    """Return the resources of actors. Those in a placement group ask for `GPU_group_…`, so nothing is counted twice."""
    return [
        (actor["node_id"], actor.get("required_resources") or {})
        for actor in actors
        if _OUR_REPLICA not in (actor.get("name") or "")
    ]


def _of_groups(groups: Iterable[JsonObject]) -> list[tuple[str | None, JsonObject]]:
    return [
        (bundle.get("node_id"), bundle.get("unit_resources") or {})
        for group in groups
        for bundle in group.get("bundles") or []
    ]


def _amount(resources: JsonObject) -> Amount:
    return Amount.of(gpus=resources.get("GPU", 0.0), cpus=resources.get("CPU", 0.0))
