"""`/metrics` where servers are away: what is known is told, and what is not is said to be unknown."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hotswap.domain.vocabulary import Role
from hotswap.settings import Settings
from tests.fixtures.api_settings import bearer

pytestmark = pytest.mark.slow  # it reads all metrics of the process


async def scraped(api: httpx.AsyncClient, settings: Settings) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by the values of their labels, in the order of their names; by series."""
    answer = await api.get("/metrics", headers=bearer(settings, Role.VIEWER))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


@pytest.mark.slow
async def test_a_database_that_is_away_is_told_and_its_figures_are_not(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    found = await scraped(api, settings)
    assert found["hotswap_source_up"] == {("postgresql",): 0.0}
    assert "hotswap_deployments" not in found
    assert found["process_resident_memory_bytes"][()] > 0


async def test_requests_are_counted_by_route_and_never_by_what_was_written_in_a_path(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    await api.get("/api/v1/models/any-name-at-all")
    await api.get("/coffee/any-name-at-all")
    await api.request("BREW", "/api/v1/models")
    found = await scraped(api, settings)
    counts = found["hotswap_api_request_duration_seconds_count"]
    assert counts["GET", "/api/v1/models/{model}", "401"] >= 1
    assert counts["GET", "", "404"] >= 1
    assert counts["_OTHER", "/api/v1/models", "405"] >= 1
    assert not any("any-name-at-all" in label or "BREW" in label for labels in counts for label in labels)
