"""Envoy's listener and bootstrap: what never changes while it runs. And the JWT filter, which does when keys rotate.

Pure. Everything that a client sees of Envoy itself is in HotSwap's error format, without Envoy's inner reasons.
"""

import json
from typing import Any

from hotswap.settings import TrafficAgentSettings
from serving.envoy import accounting
from serving.envoy.fallback import MOST_REQUEST_BYTES, candidate_cluster, candidate_listener, internal_listeners
from serving.envoy.open_inference import ANY_PATH
from serving.envoy.routes import ROUTE_CONFIG

JWT_FILTER = "envoy.filters.http.jwt_authn"
CDS, RDS, ECDS = "cds.json", "rds.json", "ecds.json"

Json = dict[str, Any]

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
                        {"contains": accounting.ANSWERS},
                        {"contains": accounting.STICKY},
                        {"contains": accounting.FELL_BACK},
                        {"contains": accounting.HISTOGRAM},
                    ]
                }
            }
        },
        "dynamic_resources": {"cds_config": _file(str(directory / CDS))},
        "static_resources": {
            "listeners": [
                _listener(settings),
                candidate_listener(timeout=settings.gateway.candidate_timeout, local_replies=_local_replies()),
            ],
            "clusters": [candidate_cluster()],
        },
        "bootstrap_extensions": [internal_listeners()],
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                        ".downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 20_000,
                    },
                }
            ]
        },
    }


def jwt_filter(jwks: Json, *, issuer: str, audience: str) -> Json:
    """The filter with its keys inline: a watched key file would not be read again."""
    return {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": JWT_FILTER,
        "typed_config": {
            "@type": f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
            "providers": {
                "hotswap": {
                    "issuer": issuer,
                    "audiences": [audience],
                    "local_jwks": {"inline_string": json.dumps(jwks, sort_keys=True)},
                    "payload_in_metadata": "jwt",
                    "claim_to_headers": [{"header_name": "x-hotswap-subject", "claim_name": "sub"}],
                    "jwt_cache_config": {"jwt_cache_size": 1000},
                }
            },
            "requirement_map": {"token": {"provider_name": "hotswap"}},
        },
    }


def _listener(settings: TrafficAgentSettings) -> Json:
    return {
        "name": "gateway",
        "address": _address(settings.gateway.listen_host, settings.gateway.listen_port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(settings),
                    }
                ]
            }
        ],
    }


def _connection_manager(settings: TrafficAgentSettings) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"config_source": _file(str(settings.agent.envoy_dir / RDS)), "route_config_name": ROUTE_CONFIG},
        "http_filters": [
            {
                "name": JWT_FILTER,
                "config_discovery": {
                    "config_source": _file(str(settings.agent.envoy_dir / ECDS)),
                    "type_urls": [f"{_HTTP}.jwt_authn.v3.JwtAuthentication"],
                },
            },
            {"name": "envoy.filters.http.rbac", "typed_config": {"@type": f"{_HTTP}.rbac.v3.RBAC"}},
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {"@type": f"{_HTTP}.buffer.v3.Buffer", "max_request_bytes": MOST_REQUEST_BYTES},
            },
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ],
        "access_log": accounting.at_the_gateway(),
        "local_reply_config": _local_replies(),
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "120s",
        "common_http_protocol_options": {"idle_timeout": "300s", "headers_with_underscores_action": "REJECT_REQUEST"},
    }


_SAID: dict[int, tuple[str, str]] = {
    400: (
        "VALIDATION_ERROR",
        "this is not a request that HotSwap takes: its path or headers are malformed",
    ),
    401: ("UNAUTHORIZED", "a valid bearer token is needed; it is missing, expired or not for HotSwap"),
    403: ("FORBIDDEN", "this token has no role that may infer, or another audience"),
    404: ("%ROUTE_NAME%", "%LOCAL_REPLY_BODY%"),
    413: ("VALIDATION_ERROR", "the body is larger than 10 MiB"),
    502: ("SERVICE_UNAVAILABLE", "what should have answered this broke off; try again"),
    503: ("SERVICE_UNAVAILABLE", "nothing that could answer this is ready; try again"),
    504: ("SERVICE_UNAVAILABLE", "no answer came in time; try again"),
}
"""What Envoy answers itself: code and message, by status."""


def _local_replies() -> Json:
    """In the error format, and for the Open Inference Protocol in its own; the first mapper that matches counts."""
    is_open = {"header_filter": {"header": {"name": ":path", "string_match": {"safe_regex": {"regex": ANY_PATH}}}}}
    in_the_protocol = [
        _reply({"and_filter": {"filters": [_status(status), is_open]}}, message)
        for status, (_, message) in _SAID.items()
    ]
    return {
        "mappers": [
            *in_the_protocol,
            *(_reply(_status(status), _told(code, message)) for status, (code, message) in _SAID.items()),
        ]
    }


def _status(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"hotswap.reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _told(code: str, message: str) -> Json:
    return {
        "code": code,
        "message": message,
        "details": [],
        "traceId": "%REQ(X-REQUEST-ID)%",
        "timestamp": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    }


def _reply(where: Json, error: Json | str) -> Json:
    body = {"json_format": {"error": error}, "content_type": "application/json"}
    return {"filter": where, "body_format_override": body}


def _file(path: str) -> Json:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
