"""Envoy's bootstrap and its public listeners: what never changes while it takes requests.

The bootstrap has no public listener. Each is in a file of its own, from which Envoy opens it, so that a proxy takes no
request before its agent has brought it the newest traffic plan (`serving/agent.py`).

Pure. The limits are those of a proxy at the edge: whatever a client sends, and however slowly, it holds little memory
for a short time, and other clients don't notice. Nothing is passed on before it is here as a whole.
"""

from datetime import timedelta
from pathlib import Path

from hotswap.domain.headers import REQUEST_ID_HEADER, STEERING_HEADERS, STEERING_PREFIX
from hotswap.settings import TrafficAgentSettings
from serving.envoy import access_log_stats
from serving.envoy.caller_rate_limit import limit_of_each_caller
from serving.envoy.clusters import agent_cluster
from serving.envoy.config import Json
from serving.envoy.fallback import candidate_cluster, candidate_listener, internal_listeners
from serving.envoy.limits import MOST_CONNECTIONS, MOST_HEADER_KILOBYTES, MOST_HEADERS, MOST_REQUEST_BYTES
from serving.envoy.local_replies import local_replies
from serving.envoy.routes import ROUTE_CONFIG
from serving.envoy.tls import transport_socket
from serving.envoy.tokens import JWT_FILTER, RBAC_FILTER, subjects

CDS, RDS, ECDS, LDS = "cds.json", "rds.json", "ecds.json", "lds.json"
AGENT_SOCKET = "agent.sock"
MOST_SOCKET_PATH = 107
"""Bytes that the system takes for a socket's path."""

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"


def bootstrap(settings: TrafficAgentSettings) -> Json:
    directory = settings.agent.envoy_dir
    host, _, port = settings.agent.envoy_admin_url.removeprefix("http://").rpartition(":")
    return {
        "node": {"id": settings.agent.proxy, "cluster": "hotswap"},
        "admin": {"address": _address(host, int(port))},
        "stats_flush_on_admin": True,
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"safe_regex": {"regex": r".*(version_text|update_rejected|update_failure)"}},
                        {"prefix": "cluster_manager.warming_clusters"},
                        {"prefix": "server.uptime"},
                        {"contains": access_log_stats.ANSWERS},
                        {"contains": access_log_stats.STICKY},
                        {"contains": access_log_stats.FELL_BACK},
                        {"contains": access_log_stats.HISTOGRAM},
                        {"safe_regex": {"regex": rf"cluster\..+\.{access_log_stats.ACTIVE}"}},
                    ]
                }
            }
        },
        "dynamic_resources": {
            "cds_config": _file(str(directory / CDS)),
            "lds_config": _file(str(directory / LDS)),
        },
        "static_resources": {
            "listeners": [
                candidate_listener(timeout=settings.gateway.candidate_timeout, local_replies=local_replies())
            ],
            "clusters": [candidate_cluster(), *_agent(directory / AGENT_SOCKET)],
        },
        "bootstrap_extensions": [internal_listeners()],
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                        ".downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MOST_CONNECTIONS,
                    },
                }
            ]
        },
    }


def _agent(socket: Path) -> list[Json]:
    """Return the agent's cluster; without it, where the system takes no such path, Envoy answers 503 in its place."""
    return [agent_cluster(socket)] if len(str(socket)) <= MOST_SOCKET_PATH else []


def public_listeners(settings: TrafficAgentSettings) -> list[Json]:
    """Return one listener for each public port; apart from the port they are the same."""
    gateway = settings.gateway
    plain = [_listener(settings, "gateway", gateway.listen_port)] if gateway.plaintext else []
    if not gateway.has_tls:
        return plain
    socket = {"transport_socket": transport_socket(settings.agent.envoy_dir)}
    return [*plain, _listener(settings, "gateway-tls", gateway.tls_port, **socket)]


def _listener(settings: TrafficAgentSettings, name: str, port: int, **chain: Json) -> Json:
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _connection_manager(settings),
    }
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": _address(settings.gateway.listen_host, port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [{"filters": [manager], **chain}],
    }


def _connection_manager(settings: TrafficAgentSettings) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"config_source": _file(str(settings.agent.envoy_dir / RDS)), "route_config_name": ROUTE_CONFIG},
        "early_header_mutation_extensions": [_nobody_steers()],
        "http_filters": [
            _readable_request_id(),
            {
                "name": JWT_FILTER,
                "config_discovery": {
                    "config_source": _file(str(settings.agent.envoy_dir / ECDS)),
                    "type_urls": [f"{_HTTP}.jwt_authn.v3.JwtAuthentication"],
                },
            },
            {"name": RBAC_FILTER, "typed_config": {"@type": f"{_HTTP}.rbac.v3.RBAC"}},
            *limit_of_each_caller(settings.limits.inference, subjects(settings.oidc)),
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {"@type": f"{_HTTP}.buffer.v3.Buffer", "max_request_bytes": MOST_REQUEST_BYTES},
            },
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ],
        "access_log": access_log_stats.at_the_gateway(),
        "local_reply_config": local_replies(),
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.gateway.trusted_proxies,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        # Nobody's headers are Envoy's own, wherever a client is.
        "internal_address_config": {"unix_sockets": False},
        "max_request_headers_kb": MOST_HEADER_KILOBYTES,
        "request_headers_timeout": _seconds(settings.gateway.headers_timeout),
        "request_timeout": _seconds(settings.gateway.request_timeout),
        "stream_idle_timeout": "120s",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_headers_count": MOST_HEADERS,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
    }


def _nobody_steers() -> Json:
    """Remove headers by which a client could steer Envoy, before Envoy reads them.

    A filter would be too late for some of them.
    """
    removals: list[Json] = [{"remove": name} for name in STEERING_HEADERS]
    removals.append({"remove_on_match": {"key_matcher": {"prefix": STEERING_PREFIX, "ignore_case": True}}})
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3"
            ".HeaderMutation",
            "mutations": removals,
        },
    }


def _readable_request_id() -> Json:
    """Return Lua that makes a request id readable, since nothing else changes a header by its value.

    Ray Serve decodes the id before our application is called, and answers 500 where it isn't UTF-8. Every try of a
    request has the same id, so it is made readable here and not created anew.
    """
    code = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local id = headers:get("{REQUEST_ID_HEADER}")
  if id ~= nil and id:find("[^ -~]") then
    headers:replace("{REQUEST_ID_HEADER}", (id:gsub("[^ -~]", "?")))
  end
end
"""
    return {
        "name": "envoy.filters.http.lua",
        "typed_config": {"@type": f"{_HTTP}.lua.v3.Lua", "default_source_code": {"inline_string": code}},
    }


def _file(path: str) -> Json:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds()}s"
