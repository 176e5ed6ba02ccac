"""`GET /metrics`: HotSwap's state and the API's own requests, as Prometheus reads them.

Asked with a Viewer's token, as everything is. What a server that is away would have told is left out, and
`hotswap_source_up` says which: an alert can tell "nothing is wrong" from "nobody knows".
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import Gauges, Reader, With
from api.routing import GuardedRoute
from hotswap.persistence.monitoring.gauges import Gauge

READ_SECONDS = 5.0
"""The time for one server; Prometheus itself gives up after ten seconds."""

router = APIRouter(tags=["health"], route_class=GuardedRoute)

logger = logging.getLogger(__name__)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def scrape(_: Reader, parts: With) -> Response:
    """Return metrics of all models in Prometheus' text format."""
    read = await asyncio.gather(*(_read(name, gauges) for name, gauges in parts.gauges.items()))
    up = Gauge(
        "hotswap_source_up",
        "Whether a server behind the API answered this scrape; what only it knows is missing otherwise.",
        ("source",),
        [((name,), found is not None) for name, found in zip(parts.gauges, read, strict=True)],
    )
    state = CollectorRegistry()
    state.register(_State([up, *(gauge for found in read for gauge in found or ())]))
    return Response(generate_latest(REGISTRY) + generate_latest(state), media_type=CONTENT_TYPE_LATEST)


async def _read(name: str, gauges: Gauges) -> Sequence[Gauge] | None:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await gauges()
    except Exception as error:  # noqa: BLE001 - whatever one source fails with, the others' figures are told
        logger.warning("%s tells no metrics: %r", name, error)
        return None


class _State(Collector):
    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for gauge in self._gauges:
            kind = CounterMetricFamily if gauge.name.endswith("_total") else GaugeMetricFamily
            family = kind(gauge.name, gauge.meaning, labels=gauge.labels)
            for labels, value in gauge.values:
                family.add_metric(labels, value)
            yield family
