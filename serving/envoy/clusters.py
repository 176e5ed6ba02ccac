"""Envoy's clusters: one per application that takes part in the plan, with its replicas' own ports, and the API's.

Pure. Retries and ejection are what it took to lose no request when a replica is killed under load: each setting here
was needed. Only local-origin failures eject, or a client that provokes three errors would eject a healthy replica.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.envoy.config import Json

API, AGENT = "api", "agent"

RETRY: Json = {
    "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 3,
    "per_try_timeout": "30s",
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    # A dead replica has the fewest requests, so three choices of four fall on it again: 5 attempts lose requests.
    "host_selection_retry_max_attempts": 20,
    "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
}
"""The retry of a request that no model has seen, at another replica of the same application."""

IDLE_SECONDS = 60
"""An idle connection is closed by Envoy, and so before its server closes it: a request that meets its end is lost.

The API keeps its connections for 90 s (`api/app.py`), and so does Ray Serve by its default.
"""


def agent_cluster(socket: Path) -> Json:
    """Return the cluster of the agent beside this Envoy, which listens on a socket beside Envoy's files."""
    return {
        "name": AGENT,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": AGENT,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}}]}],
        },
    }


def clusters(targets: Mapping[str, Sequence[str]], *, api: str) -> list[Json]:
    """Return the clusters; `targets` are `host:port` by cluster, and a cluster without a target answers 503.

    A fallback's cluster stands beside these (`serving/envoy/fallback.py`).
    """
    return [_cluster(API, [api]), *(_cluster(name, targets[name]) for name in sorted(targets))]


def _cluster(name: str, targets: Sequence[str]) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_endpoint(target) for target in targets]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 8192, "max_retries": 1024}
            ]
        },
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_local_origin_success_rate": 0,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": "1s",
            "max_ejection_percent": 50,
        },
    }


def _endpoint(target: str) -> Json:
    host, _, port = target.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
