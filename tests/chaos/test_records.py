"""Every answer has its record, whoever dies; and when records can go nowhere they cost neither answers nor memory."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hotswap.bootstrap.layout import Layout
from hotswap.demo.models import TrainedModels
from hotswap.domain.recording import Withheld
from serving.spool import DROPPED, segments
from tests.chaos import looking
from tests.chaos.conftest import REPLICAS, SPOOL_BYTES
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import under_load

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(400)]

BATCH = 8_000
"""Instances of one request, which make a record of some two megabytes; without features, of some kilobytes."""
ENOUGH_DROPPED = 20
MOST_BATCHES = 4_000
"""More than fill all spools, though most records of them come without features."""
SLACK_BYTES = 48 * 1024**2
"""What a process may grow by: far less than if it kept what it was asked."""

ANSWERING = """
SELECT count(*) FROM (
    SELECT request_id FROM inference_requests AS record
    WHERE request_id = ANY(%(ids)s) AND arm <> 'shadow' AND status = 'Completed'
    AND attempt = (SELECT max(attempt) FROM inference_requests AS any_of WHERE any_of.request_id = record.request_id)
    GROUP BY request_id HAVING count(*) = 1
) AS answering
"""
"""Requests with exactly one answering row: that of the last attempt. Earlier attempts died with their replica."""


@contextmanager
def database(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def count(connection: psycopg.Connection[Any], query: str, **values: Any) -> int:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])


def test_every_answer_has_exactly_one_answering_row(victim: Stack, served: str, trained: TrainedModels) -> None:
    with under_load(victim, served, trained) as traffic:
        for _ in range(2):
            looking.kill_replica(victim, served)
            for part in ("recorder", "valkey", "shipper"):
                looking.kill_part(victim, part)
                time.sleep(1)
    assert not [answer for answer in traffic.answers if not answer.succeeded]
    ids = [answer.request_id for answer in traffic.answers]
    assert len(set(ids)) == len(ids) > 1_000
    with database(victim) as connection:
        wait_until(
            lambda: count(connection, ANSWERING, ids=ids) == len(ids),
            what=f"one answering row for each of {len(ids)} answers",
        )


def test_a_full_spool_drops_and_counts_and_costs_no_answer_and_no_memory(
    victim: Stack, served: str, trained: TrainedModels
) -> None:
    body = {"instances": list(itertools.islice(itertools.cycle(trained.requests), BATCH))}

    def ask() -> str:
        answer = victim.http.post(f"/api/v1/inference/{served}/batch", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["requestId"])

    assert dropped(victim) == 0
    ids = [ask() for _ in range(4 * REPLICAS)]
    hotswap("stop", "--kill", "valkey", "--data-dir", str(victim.data))
    try:
        processes = {*looking.replicas(victim, served), victim.pid("shipper")}
        before = {pid: looking.memory(pid) for pid in processes}
        with under_load(victim, served, trained) as traffic:
            for _ in range(MOST_BATCHES):
                if dropped(victim) >= ENOUGH_DROPPED:
                    break
                ids.append(ask())
                grown = {pid: looking.memory(pid) - before[pid] for pid in processes}
                assert max(grown.values()) < SLACK_BYTES, grown
                assert max(sizes(victim)) <= SPOOL_BYTES
    finally:
        hotswap("start", "valkey", "--data-dir", str(victim.data))
    assert not [answer for answer in traffic.answers if not answer.succeeded]
    assert dropped(victim) >= ENOUGH_DROPPED
    ids += [str(answer.request_id) for answer in traffic.answers]
    with database(victim) as connection:
        wait_until(
            lambda: count(connection, ANSWERING, ids=ids) == len(ids) - dropped(victim),
            what=f"a row of each of {len(ids)} answers but {dropped(victim)} that were dropped and counted",
        )
        kept = "SELECT count(*) FROM inference_requests WHERE withheld = %(reason)s"
        assert count(connection, kept, reason=Withheld.SPACE) > 0, "features go before records"
        later = [ask() for _ in range(4 * REPLICAS)]
        wait_until(lambda: count(connection, ANSWERING, ids=later) == len(later), what="records again")


def spools(stack: Stack) -> list[Path]:
    return [spool for spool in Layout(stack.data).spool.glob("*/*") if not spool.name.startswith(".")]


def dropped(stack: Stack) -> int:
    """What the replicas have counted."""
    return sum(int((spool / DROPPED).read_text() or 0) for spool in spools(stack))


def sizes(stack: Stack) -> list[int]:
    """Bytes by spool."""
    return [sum(segment.stat().st_size for segment in segments(spool)) for spool in spools(stack)]
