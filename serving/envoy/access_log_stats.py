"""Envoy's statistics of answers: how many of each status an application gave, and how long the good ones took.

Pure. Access loggers count them, since a cluster's own counters forget its errors, and only those, when its replicas
change: a candidate that crashes again and again would look like one that answers well. Access loggers forget nothing
until Envoy ends. Where a candidate falls back, its answers are counted inside, once for all its tries. Its latencies
and rescues are counted where its client is served (`serving/envoy/fallback.py`), with the candidate's error and the
stable's answer. Requests that name their entity are counted a second time by themselves: they keep their arm, so one of
them says little about the next.
"""

from collections.abc import Sequence

from hotswap.domain.headers import APPLICATION_HEADER, CAUSE_HEADER, ENTITY_HEADER, FALLBACK_HEADER
from serving.envoy.config import Json

HISTOGRAM = "hotswap_latency"
ANSWERS = "hotswap_answers"
STICKY = "hotswap_sticky"
FELL_BACK = "hotswap_fell_back"
ACTIVE = "upstream_rq(_pending)?_active"
"""The gauge of a cluster's requests that are in flight, or wait for a connection."""

_APPLICATION = {"name": "application", "value_format": "%UPSTREAM_CLUSTER%"}
_STATUS = {"name": "status", "value_format": "%RESPONSE_CODE%"}
_CAUSE = {"name": "cause", "value_format": f"%REQ({CAUSE_HEADER})%"}

_INFERENCE = {"header_filter": {"header": {"name": ":method", "string_match": {"exact": "POST"}}}}


def at_the_gateway() -> list[Json]:
    pairs = _counter(FELL_BACK, _APPLICATION, _CAUSE, _STATUS)
    fell_back = _logger([_INFERENCE, _with(FALLBACK_HEADER)], counters=[pairs])
    return [_latencies(), fell_back, *_answers(_without(APPLICATION_HEADER))]


def inside() -> list[Json]:
    return _answers()


def _answers(*filters: Json) -> list[Json]:
    return [
        _logger([_INFERENCE, *filters], counters=[_counter(ANSWERS, _APPLICATION, _STATUS)]),
        _logger([_INFERENCE, *filters, _with(ENTITY_HEADER)], counters=[_counter(STICKY, _APPLICATION, _STATUS)]),
    ]


def _counter(name: str, *tags: Json) -> Json:
    return {"stat": {"name": name, "tags": list(tags)}, "value_fixed": 1}


def _latencies() -> Json:
    """Return the histogram, in microseconds: Envoy's own `upstream_rq_time` has whole milliseconds.

    It counts answers only: a refusal that Envoy makes up itself is quick and says nothing about a model. A fallback
    isn't counted either, since two versions took that time for one answer: it counts as the candidate's error.
    """
    good = {"comparison": {"op": "LE", "value": {"default_value": 299, "runtime_key": "hotswap.latency.most"}}}
    histogram = {
        "stat": {"name": HISTOGRAM, "tags": [_APPLICATION]},
        "unit": "Microseconds",
        "value_format": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    }
    return _logger([_INFERENCE, {"status_code_filter": good}, _without(FALLBACK_HEADER)], histograms=[histogram])


def _with(header: str) -> Json:
    """Match requests that have the header at the end."""
    return {"header_filter": {"header": {"name": header, "present_match": True}}}


def _without(header: str) -> Json:
    return {"header_filter": {"header": {"name": header, "present_match": True, "invert_match": True}}}


def _logger(filters: Sequence[Json], **stats: list[Json]) -> Json:
    only: Json = filters[0] if len(filters) == 1 else {"and_filter": {"filters": list(filters)}}
    return {
        "name": "envoy.access_loggers.stats",
        "filter": only,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": "hotswap"},
            **stats,
        },
    }
