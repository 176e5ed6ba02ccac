"""A candidate's failure falls back: what it fails is answered by the stable, and costs no client an answer.

Pure. The candidate's share of a split goes to a composite cluster: its first try is the candidate, every further one
the stable. The first try goes through a listener inside of Envoy, which gives the candidate retries and a time limit of
its own. So whatever goes wrong there (an error, a refusal, a reset, a hang, nobody there) comes out as one answer,
counted once under the candidate's own cluster: the judge sees each failure, and none of the stable's rescues.

What the candidate's replica refuses (by its schema, its tensors or its outputs) falls back too: only the other version
can tell whether that is the client's mistake or the candidate's. Any other answer below 500 is never asked again. Who
asked for the candidate's version by name doesn't come here (`serving/envoy/routes.py`).
"""

import json
from dataclasses import dataclass
from datetime import timedelta

from hotswap.domain.headers import (
    APPLICATION_HEADER,
    ARM_HEADER,
    ATTEMPT_HEADER,
    CANDIDATE_REFUSED_HEADER,
    CANDIDATE_STATUS_HEADER,
    CAUSE_HEADER,
    FALLBACK_HEADER,
    REFUSED_HEADER,
    VERSION_HEADER,
)
from hotswap.domain.traffic import Arm, Route, TrafficPlan
from hotswap.domain.vocabulary import ArmName
from serving.envoy import access_log_stats
from serving.envoy.clusters import RETRY
from serving.envoy.config import Json
from serving.envoy.limits import MOST_HEADER_KILOBYTES, MOST_HEADERS, MOST_REQUEST_BYTES

INSIDE = "@"
"""The mark in a cluster's name that is no application's: what is counted there is counted under an application already.
"""

CANDIDATE = f"{INSIDE}candidate"
"""The listener inside of Envoy, and the cluster that leads to it."""

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_NO_LIMIT = 65_536
_CAUSE = "hotswap.fallback.cause"
"""The key of the end of the candidate's try, which is kept for the next one: they share the request's metadata."""

RETRY_OR_FALL_BACK: Json = {
    **RETRY,
    "retry_on": f"{RETRY['retry_on']},retriable-headers",
    "retriable_headers": [
        {"name": CANDIDATE_STATUS_HEADER, "string_match": {"safe_regex": {"regex": "5.."}}},
        {"name": CANDIDATE_REFUSED_HEADER, "present_match": True},
    ],
}
"""The stable's own answer carries no such header, so it is never asked again for what its model did or refused."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A candidate whose failures this stable answers."""

    candidate: Arm
    stable: Arm

    @property
    def cluster(self) -> str:
        return f"{self.candidate.application}{INSIDE}fallback"


def fallback_of(route: Route) -> Fallback | None:
    if not route.fallback or route.candidate is None or route.stable is None:
        return None
    return Fallback(route.candidate, route.stable)


def fallbacks(plan: TrafficPlan) -> frozenset[Fallback]:
    return frozenset(found for route in plan.routes if (found := fallback_of(route)) is not None)


def composite_cluster(fallback: Fallback) -> Json:
    """Return a cluster of the new extension `envoy.clusters.composite`: try N goes to its Nth entry.

    tests/contracts holds Envoy to it.
    """
    entries = [CANDIDATE, *[fallback.stable.application] * RETRY["num_retries"]]
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": fallback.cluster,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.composite",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig",
                "clusters": [{"name": entry} for entry in entries],
            },
        },
        "circuit_breakers": _unlimited(),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "http_filters": [
                    {
                        "name": "envoy.filters.http.lua",
                        "typed_config": {
                            "@type": f"{_HTTP}.lua.v3.Lua",
                            "default_source_code": {"inline_string": _address_each_try(fallback)},
                        },
                    },
                    {
                        "name": "envoy.filters.http.upstream_codec",
                        "typed_config": {"@type": f"{_HTTP}.upstream_codec.v3.UpstreamCodec"},
                    },
                ],
            }
        },
    }


def _address_each_try(fallback: Fallback) -> str:
    """Return Lua that addresses each try anew: the two applications have prefixes of their own.

    Tries are numbered in sequence, as in the records: the candidate's are 1 to 4, inside, and the stable's begin at 5.
    """
    return f"""
local candidate = {_lua_table(ArmName.CANDIDATE, fallback.candidate)}
local stable = {_lua_table(ArmName.STABLE, fallback.stable)}

function envoy_on_request(handle)
  local headers = handle:headers()
  local try = tonumber(headers:get("{ATTEMPT_HEADER}"))
  local asked = candidate
  if try > 1 then
    asked = stable
    local cause = handle:streamInfo():dynamicMetadata():get("{_CAUSE}")
    headers:replace("{FALLBACK_HEADER}", candidate.version)
    headers:replace("{CAUSE_HEADER}", cause and cause["is"] or "failed")
    headers:replace("{ATTEMPT_HEADER}", tostring(try + {RETRY["num_retries"]}))
  end
  local path = headers:get(":path"):gsub("^/[^/]+", "/" .. asked.application, 1)
  headers:replace(":path", path)
  headers:replace("{APPLICATION_HEADER}", asked.application)
  headers:replace("{VERSION_HEADER}", asked.version)
  headers:replace("{ARM_HEADER}", asked.arm)
end

function envoy_on_response(handle)
  if handle:headers():get("{CANDIDATE_REFUSED_HEADER}") then
    handle:streamInfo():dynamicMetadata():set("{_CAUSE}", "is", "refused")
  end
end
"""


def _lua_table(name: ArmName, arm: Arm) -> str:
    application, version, side = (json.dumps(text) for text in (arm.application, arm.version, name))
    return f"{{application = {application}, version = {version}, arm = {side}}}"


def candidate_cluster() -> Json:
    """Return the cluster of the listener inside, shared by all candidates: the request's header says which is meant."""
    address = {"envoy_internal_address": {"server_listener_name": CANDIDATE}}
    return {
        "name": CANDIDATE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": CANDIDATE,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": _unlimited(),
    }


def candidate_listener(*, timeout: timedelta, local_replies: Json) -> Json:
    """Return the listener that tries a candidate, with its cluster's retries and within `timeout` for all of them."""
    routes = {
        "name": CANDIDATE,
        "virtual_hosts": [
            {
                "name": CANDIDATE,
                "domains": ["*"],
                "retry_policy": RETRY,
                "include_request_attempt_count": True,
                "request_body_buffer_limit": MOST_REQUEST_BYTES,
                "routes": [
                    {
                        "match": {"prefix": "/"},
                        "route": {"cluster_header": APPLICATION_HEADER, "timeout": f"{timeout.total_seconds():.3f}s"},
                    }
                ],
            }
        ],
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "candidate",
        "route_config": routes,
        "http_filters": [
            {
                # A filter, since headers that a route adds are missing where Envoy itself gives up waiting.
                "name": "envoy.filters.http.header_mutation",
                "typed_config": {
                    "@type": f"{_HTTP}.header_mutation.v3.HeaderMutation",
                    "mutations": {
                        "response_mutations": [
                            {"append": overwritten(CANDIDATE_STATUS_HEADER, "%RESP(:status)%")},
                            {"append": overwritten(CANDIDATE_REFUSED_HEADER, f"%RESP({REFUSED_HEADER})%")},
                        ]
                    },
                },
            },
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ],
        "access_log": access_log_stats.inside(),
        "local_reply_config": local_replies,
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        # What the gateway has let in, with the headers that it added, is let in here too.
        "max_request_headers_kb": 2 * MOST_HEADER_KILOBYTES,
        "common_http_protocol_options": {"max_headers_count": 2 * MOST_HEADERS},
    }
    return {
        "name": CANDIDATE,
        "internal_listener": {},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def internal_listeners() -> Json:
    """Return the bootstrap extension that listeners inside of Envoy need."""
    return {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
        },
    }


def overwritten(key: str, value: str) -> Json:
    """Return a header that replaces an existing one; without a value the header is removed."""
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _unlimited() -> Json:
    """Return no limits: the applications' own clusters have them, and a second one here would cost answers."""
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _NO_LIMIT)
    return {"thresholds": [most]}
