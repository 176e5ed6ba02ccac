"""A limit on the inference requests per second of each caller, counted by each proxy. Pure.

No other process is asked, so it costs no hop and fails open: a proxy that has just started has counted no request yet.
Two proxies let a caller make twice as many. Without a setting there is no limit, and no filter.
"""

from serving.envoy.config import Json
from serving.envoy.fallback import overwritten
from serving.envoy.tokens import JWT_FILTER

MOST_CALLERS = 10_000
"""The most callers that one proxy counts; beyond them the one that has been silent longest begins anew."""

_NO_LIMIT = 2**32 - 1


def limit_of_each_caller(a_second: int, subjects: list[list[str]]) -> list[Json]:
    """Return the rate limit filter, to be placed behind the token filter.

    The token filter stores the caller at `subjects` where a route needs a token, which only inference does here.
    """
    if a_second == 0:
        return []
    kept = [{"key": JWT_FILTER, "path": [{"key": name} for name in path]} for path in subjects]
    return [
        {
            "name": "envoy.filters.http.local_ratelimit",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": "inference",
                "filter_enabled": {"default_value": {"numerator": 100}},
                "filter_enforced": {"default_value": {"numerator": 100}},
                "token_bucket": _bucket(_NO_LIMIT),  # of requests without a caller
                "always_consume_default_token_bucket": False,
                "rate_limits": [
                    {"actions": [{"metadata": {"descriptor_key": "caller", "source": "DYNAMIC", "metadata_key": key}}]}
                    for key in kept
                ],
                "descriptors": [{"entries": [{"key": "caller"}], "token_bucket": _bucket(a_second)}],
                "max_dynamic_descriptors": MOST_CALLERS,
                "response_headers_to_add": [overwritten("retry-after", "1")],
            },
        }
    ]


def _bucket(a_second: int) -> Json:
    return {"max_tokens": a_second, "tokens_per_fill": a_second, "fill_interval": "1s"}
