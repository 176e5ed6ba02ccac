"""Envoy's admin port: the versions of the files that it has accepted, and its counters of answers."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

from hotswap.domain.traffic import Counts
from hotswap.process.plain_http import plain_client
from serving.envoy.access_log_stats import ACTIVE, ANSWERS, FELL_BACK, HISTOGRAM, STICKY
from serving.envoy.fallback import INSIDE
from serving.envoy.routes import ROUTE_CONFIG
from serving.envoy.tokens import JWT_FILTER

_CDS = "cluster_manager.cds.version_text"
_RDS = f"http.gateway.rds.{ROUTE_CONFIG}.version_text"
_ECDS = f"extension_config_discovery.http_filter.{JWT_FILTER}.version_text"
_WARMING = "cluster_manager.warming_clusters"

_APPLICATION = r"application\.(?P<application>[^.@-][^.@]*)"
"""Not what no application gave (`-`)."""
_ANSWERS = re.compile(rf"hotswap\.(?P<name>{ANSWERS}|{STICKY})\.{_APPLICATION}\.status\.(?P<class>[1-5])\d\d")
"""Without those that nobody waited for (0)."""
_FELL_BACK = re.compile(
    rf"hotswap\.{FELL_BACK}\.{_APPLICATION}(?:{INSIDE}[^.]*)?\.cause\.(?P<cause>\w+)\.status\.(?P<class>\d)\d*"
)
"""The counter of the candidate's faults, and of the stable's answers in its place."""
_ACTIVE = re.compile(rf"cluster\.(?P<application>[^.@]+)\.{ACTIVE}")
_WELL = {"2", "3"}


@dataclass(frozen=True, slots=True)
class AcceptedVersions:
    """The version of each file that Envoy has accepted; that of the clusters counts only once they are warm."""

    cds: str | None
    rds: str | None
    ecds: str | None


@dataclass(frozen=True, slots=True)
class AnswerCounters:
    """Envoy's counters since it started, `uptime` seconds ago, and each cluster's requests in flight.

    `active` is None where it shows none, as one does whose bootstrap is older.
    """

    uptime: int
    counts: dict[str, Counts] = field(default_factory=dict)
    active: dict[str, int] | None = None


class EnvoyAdmin:
    """A client of Envoy's admin port. Every method raises httpx.HTTPError while Envoy is away."""

    def __init__(self, url: str) -> None:
        self._http = plain_client(base_url=url, timeout=2.0)

    async def accepted_versions(self) -> AcceptedVersions:
        answer = await self._http.get("/stats?usedonly&filter=version_text|warming_clusters")
        said = dict(line.split(": ", 1) for line in answer.text.splitlines() if ": " in line)
        said = {name: value.strip('"') for name, value in said.items()}
        return AcceptedVersions(
            cds=said.get(_CDS) if said.get(_WARMING) == "0" else None, rds=said.get(_RDS), ecds=said.get(_ECDS)
        )

    async def tally(self) -> AnswerCounters:
        query = f"{ANSWERS}|{STICKY}|{FELL_BACK}|server.uptime|{HISTOGRAM}|{ACTIVE}"
        answer = await self._http.get(f"/stats?format=json&histogram_buckets=detailed&filter={query}")
        return read_tally(answer.json())

    async def is_live(self) -> bool:
        try:
            return (await self._http.get("/ready")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def aclose(self) -> None:
        await self._http.aclose()


def read_tally(said: dict[str, Any]) -> AnswerCounters:
    """Read the counters and histograms of Envoy's JSON, by application.

    A candidate that falls back has its answers under its own cluster, and its latencies under the composite one.
    """
    uptime = 0
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    sticky: dict[str, Counter[str]] = defaultdict(Counter)
    pairs: dict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    latency: dict[str, Counter[str]] = defaultdict(Counter)
    active: Counter[str] = Counter()
    for stat in said["stats"]:
        if "histograms" in stat:
            for histogram in stat["histograms"].get("details", ()):
                application = histogram["name"].rpartition(".")[2].partition(INSIDE)[0]
                for bucket in histogram["totals"]:
                    latency[application][f"{bucket['lower_bound'] + bucket['width']:g}"] += bucket["count"]
        elif stat["name"] == "server.uptime":
            uptime = stat["value"]
        elif match := _ANSWERS.fullmatch(stat["name"]):
            counted = sticky if match["name"] == STICKY else answers
            counted[match["application"]][match["class"]] += stat["value"]
        elif match := _ACTIVE.fullmatch(stat["name"]):
            active[match["application"]] += stat["value"]
        elif match := _FELL_BACK.fullmatch(stat["name"]):
            pairs[match["application"]][match["cause"], match["class"] in _WELL] += stat["value"]
    return AnswerCounters(
        uptime,
        {
            application: Counts(
                completed=by_class.total(),
                server_errors=by_class["5"],
                client_errors=by_class["4"],
                fell_back=pairs[application].total(),
                refused=pairs[application]["refused", True] + pairs[application]["refused", False],
                rescued_refusals=pairs[application]["refused", True],
                rescued_errors=pairs[application]["failed", True],
                sticky=sticky[application].total(),
                sticky_errors=sticky[application]["5"],
                sticky_refused=sticky[application]["4"],
                latency=dict(latency[application]),
            )
            for application, by_class in answers.items()
        },
        dict(active) if active else None,
    )
