"""The clusters of requests that chose their version themselves: they are answered by it, but not judged.

Pure. While a model's traffic is split, a request that names its version or comes from a tester goes through a cluster
of its own (`NAME+chosen`) that leads to the same replicas. The judge's evidence rests on requests reaching the
candidate with the probability of its weight; requests that people send there on purpose would make a good version look
bad, or hide a bad one behind the stable's errors. The judge counts by cluster, so a request in another cluster is never
counted, whatever is late or restarts.

A tester (`X-HotSwap-Tester: true`) reaches the candidate whatever its weight, also at 0. Without a candidate beside a
stable the header means nothing, and the version that serves answers. The header opens no door: the route asks for the
same token and roles as any other. A client that needs one version and no other asks for it by `X-HotSwap-Version`.
"""

from hotswap.domain.headers import CHOSEN_BY_HEADER, TESTER_HEADER
from hotswap.domain.traffic import Route, TrafficPlan
from hotswap.domain.vocabulary import ChosenBy
from serving.envoy.config import Json
from serving.envoy.fallback import overwritten

_SUFFIX = "+chosen"


def chosen_cluster(route: Route, application: str) -> str:
    """Return the cluster of requests that chose this application: its own one, unless that is being judged."""
    return f"{application}{_SUFFIX}" if _is_split(route) else application


def application_of(cluster: str) -> str:
    """Return the application to whose replicas a cluster leads."""
    return cluster.removesuffix(_SUFFIX)


def cluster_names(plan: TrafficPlan) -> frozenset[str]:
    """Return the clusters of a plan's applications, and the second cluster of those that are judged."""
    chosen = {chosen_cluster(route, arm.application) for route in plan.routes for _, arm, _ in route.arms}
    return plan.applications | chosen


def is_tester() -> Json:
    """Match the header that asks for the candidate, in any spelling of `true`."""
    return {"name": TESTER_HEADER, "string_match": {"exact": "true", "ignore_case": True}}


def chosen_by(how: ChosenBy) -> Json:
    return overwritten(CHOSEN_BY_HEADER, how)


def _is_split(route: Route) -> bool:
    return route.stable is not None and route.candidate is not None
