"""Looks at the real proxies, replicas and rows all the time, and tells afterwards whether the invariants ever broke."""

import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus
from serving.envoy.fallback import INSIDE
from serving.ray.client import PATH
from tests.fixtures.stack import Stack

INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """`reported` is what rows say, by application; read before `weights`, which is what Envoy does."""

    at: float
    reported: dict[str, int]
    weights: dict[str, dict[str, int]]
    running: frozenset[str]


class Sampler:
    """Samples in a thread of its own between `start` and `stop`."""

    def __init__(self, stack: Stack, database: str) -> None:
        self.samples: list[Sample] = []
        self.problems: list[Exception] = []
        self._database = database
        self._envoy = f"{stack.environment['urls']['envoyAdmin']}/config_dump?resource=dynamic_route_configs"
        self._serve = stack.control["HOTSWAP_RAY__DASHBOARD_URL"] + PATH
        self._token = stack.control["HOTSWAP_RAY__AUTH_TOKEN"]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with psycopg.connect(self._database, autocommit=True) as database, httpx.Client(headers=headers) as http:
            while not self._stopping.wait(INTERVAL_SECONDS):
                try:
                    self.samples.append(self._sample(database, http))
                except (httpx.HTTPError, KeyError) as error:
                    self.problems.append(error)

    def _sample(self, database: psycopg.Connection[Any], http: httpx.Client) -> Sample:
        rows = database.execute(
            "SELECT application, verified_weight FROM deployments WHERE status = 'Progressing' AND verified_weight > 0"
        ).fetchall()
        serve = http.get(self._serve).raise_for_status().json()["applications"]
        running = frozenset(name for name, found in serve.items() if found["status"] == "RUNNING")
        weights = read_weights(http.get(self._envoy).raise_for_status().json())
        return Sample(time.time(), {name: weight for name, weight in rows}, weights, running)  # noqa: C416


def read_weights(dump: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By model: the weight of each application, from Envoy's own account of its routes."""
    (config,) = dump["configs"]
    (host,) = config["route_config"]["virtual_hosts"]
    return {
        route["match"]["path_separated_prefix"].rpartition("/")[2]: {
            cluster["name"].partition(INSIDE)[0]: cluster.get("weight", 0)
            for cluster in route["route"]["weighted_clusters"]["clusters"]
        }
        for route in host["routes"]
        if "weighted_clusters" in route.get("route", {})
    }


def assert_invariants(samples: list[Sample]) -> None:
    """Those of DESIGN that can be seen from outside, over everything that was seen."""
    assert samples
    seen_at: dict[str, set[int]] = {}
    for before, sample in zip([samples[0], *samples], samples, strict=False):
        for model, clusters in sample.weights.items():
            assert sum(clusters.values()) == 10_000, (model, clusters)
            for name, weight in clusters.items():
                seen_at.setdefault(name, set()).add(weight)
                # Serve was read first: what is routed to now ran a moment ago, and what ran a moment ago still may.
                ran = name in sample.running or name in before.running
                assert weight == 0 or ran, f"{weight} of {model} goes to {name}, which isn't running"
        for name, weight in sample.reported.items():
            # Forward a weight only grows, and one that is skipped by a person may be gone before it was sampled.
            reached = max(seen_at.get(name, {0}))
            assert weight <= reached, f"{weight} was reported of {name}, and Envoy had reached {reached}"


def assert_audited(database: str, deployment_id: str) -> list[DeploymentStatus]:
    """Every status has its event, who and why, in an order that the table of transitions allows; answers them."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT before->>'status', after->>'status', actor, why FROM audit_events"
            " WHERE target_id = %s AND action LIKE 'status %%' ORDER BY id",
            [deployment_id],
        ).fetchall()
    path = [DeploymentStatus.PENDING]
    for before, after, actor, why in rows:
        assert before == path[-1]
        assert after in TRANSITIONS[path[-1]], (path, after)
        assert actor
        assert why
        path.append(DeploymentStatus(after))
    return path
