"""PromQL metrics, asked of a real Prometheus (Debian's) whose samples were written beforehand."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.domain.analysis import JudgeName, Metric, Reading, Source, Subject
from hotswap.domain.errors import Unavailable
from hotswap.metrics_sources.prometheus import PrometheusMeter, written
from tests.fixtures.patience import patient
from tests.fixtures.ports import free_base
from tests.fixtures.prometheus import PROMTOOL, needs_prometheus, running

NOW = float(int(time.time()) - 86_400)
BEGUN = NOW - 60
SUBJECT = Subject("dep-1", "Production", "fraud", "prod-b", "prod-a", "2.0.0", "1.0.0", 1_000, BEGUN)


def samples() -> Iterator[str]:
    """Every 2 s for ten minutes: gauges of both arms, of which the candidate's has a gap in the bake's middle."""
    yield "# TYPE queue gauge"
    for app, value in (("prod-a", 10), ("prod-b", 25)):
        for at in range(int(NOW) - 600, int(NOW) + 1, 2):
            if not (app == "prod-b" and BEGUN + 20 < at < BEGUN + 40):
                yield f'queue{{app="{app}"}} {value} {at}'
    yield "# EOF"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert PROMTOOL is not None
    home = tmp_path_factory.mktemp("prometheus")
    (home / "samples").write_text("\n".join(samples()) + "\n")
    blocks = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", str(home / "samples"), str(home / "data")]
    subprocess.run(blocks, check=True, capture_output=True, timeout=patient(60))
    with running(home, "global: {scrape_interval: 1h}\n", "--query.lookback-delta=3s", port=free_base()) as url:
        yield url


def metric(query: str, *, judge: JudgeName = JudgeName.THRESHOLD, relative: bool = False) -> Metric:
    return Metric("queue", Source.PROMETHEUS, judge, query=query, relative=relative)


async def read(
    url: str | None, metric: Metric, subject: Subject = SUBJECT, *, token_file: Path | None = None
) -> Reading:
    meter = PrometheusMeter(url, token_file, clock=lambda: NOW)
    try:
        return await meter.read(metric, subject)
    finally:
        await meter.aclose()


QUEUE = 'avg(queue{app="${candidate}"})'


@needs_prometheus
@pytest.mark.parametrize(
    ("query", "relative", "candidate", "stable"),
    [
        (QUEUE, False, 25, None),
        (QUEUE, True, 25, 10),
        ('queue{app="${stable}"}', False, 10, None),
        ("scalar(sum(queue))", False, 35, None),
        ('count_over_time(queue{app="${stable}"}[${window}])', False, 31, None),
        ('queue{app="nobody"}', True, None, None),
        (f"{QUEUE} * 0 / 0", False, None, None),
    ],
)
async def test_each_arm_is_asked_for(
    prometheus: str, query: str, relative: bool, candidate: float | None, stable: float | None
) -> None:
    reading = await read(prometheus, metric(query, relative=relative), SUBJECT)
    assert (reading.candidate_value, reading.stable_value, reading.error) == (candidate, stable, None)
    assert reading.at == NOW


@needs_prometheus
async def test_the_kayenta_judge_gets_both_series_with_their_gaps(prometheus: str) -> None:
    reading = await read(prometheus, metric(QUEUE, judge=JudgeName.KAYENTA), SUBJECT)
    assert reading.stable_points == (10.0,) * 31
    assert len(reading.candidate_points) == 31
    assert reading.candidate_points[:11] == (25.0,) * 11
    assert None in reading.candidate_points[11:20]
    assert reading.candidate_points[20:] == (25.0,) * 11


@needs_prometheus
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("queue", "answers 2 series; sum or average them"),
        ("queue{", r"Prometheus answers 400: .*parse error"),
        ("queue[1m]", "answers a range"),
    ],
)
async def test_what_can_not_be_judged_is_an_error(prometheus: str, query: str, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        await read(prometheus, metric(query), SUBJECT)


@needs_prometheus
async def test_no_name_becomes_a_part_of_the_query(prometheus: str) -> None:
    hostile = Subject(
        "dep-1", "Production", "fraud", '"}) or vector(7) or avg(queue{app="', "prod-a", "2", "1", 1_000, BEGUN
    )
    for quote in ('"', "'", "`"):
        query = QUEUE.replace('"', quote)
        name = hostile.candidate.replace('"', quote)
        subject = Subject("dep-1", "Production", "fraud", name, "prod-a", "2", "1", 1_000, BEGUN)
        reading = await read(prometheus, metric(query), subject)
        assert reading.candidate_value is None, written(query, subject, now=NOW)


async def test_without_a_prometheus_it_says_which_setting_names_one() -> None:
    with pytest.raises(Unavailable, match="HOTSWAP_ANALYSIS__PROMETHEUS_URL"):
        await read(None, metric(QUEUE), SUBJECT)


async def test_one_that_does_not_answer_is_an_error_that_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret")
    port = free_base()
    url = f"http://ann:hidden@127.0.0.1:{port}"
    with pytest.raises(Unavailable, match="does not answer: ConnectError") as error:
        await read(url, metric(QUEUE), token_file=tmp_path / "token")
    assert "hidden" not in str(error.value)
    assert "a-secret" not in str(error.value)
    with pytest.raises(Unavailable, match="token for Prometheus can't be read"):
        await read(url, metric(QUEUE), token_file=tmp_path / "gone")
