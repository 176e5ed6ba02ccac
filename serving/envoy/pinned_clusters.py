"""Requests that chose their arm themselves, by its version or as a tester: answered by it, and not held against it.

Pure. While a model's traffic is split, what was chosen goes through clusters of its own (`NAME+chosen`) that lead to
the same replicas. The judge's evidence rests on requests falling on the candidate with the probability that its weight
says; what people send there on purpose would make a good version look bad, or hide a bad one behind the stable's
errors. The judge counts by cluster, so what has another cluster is never counted, whatever is late or restarts.

A tester (`X-HotSwap-Tester: true`) reaches the candidate whatever its weight, also at none. Where there is no candidate
beside a stable the header means nothing, and whoever serves answers. It opens no door: the route asks for the same
token and roles as any other. Who must have a version and nothing else asks for it by `X-HotSwap-Version`.
"""

from hotswap.domain.headers import CHOSEN_BY_HEADER, TESTER_HEADER
from hotswap.domain.traffic import Route, TrafficPlan
from hotswap.domain.vocabulary import ChosenBy
from serving.envoy.config import Json
from serving.envoy.fallback import overwritten

_SUFFIX = "+chosen"


def chosen_cluster(route: Route, application: str) -> str:
    """Where a request goes that chose this application: its own cluster, unless that is being judged."""
    return f"{application}{_SUFFIX}" if _is_split(route) else application


def application_of(cluster: str) -> str:
    """Whose replicas a cluster leads to."""
    return cluster.removesuffix(_SUFFIX)


def cluster_names(plan: TrafficPlan) -> frozenset[str]:
    """The clusters of a plan's applications, each once, and the second one of those that are judged."""
    chosen = {chosen_cluster(route, arm.application) for route in plan.routes for _, arm, _ in route.arms}
    return plan.applications | chosen


def is_tester() -> Json:
    """Matches the header that asks for the candidate, however `true` is written."""
    return {"name": TESTER_HEADER, "string_match": {"exact": "true", "ignore_case": True}}


def chosen_by(how: ChosenBy) -> Json:
    return overwritten(CHOSEN_BY_HEADER, how)


def _is_split(route: Route) -> bool:
    return route.stable is not None and route.candidate is not None
