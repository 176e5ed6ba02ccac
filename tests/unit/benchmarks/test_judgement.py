"""The bench of the whole judging, in short: that its parts work, and that no clear fault is ever promoted.

How often rollouts end wrongly is for `make bench-judgement` to show.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.judgement import __main__ as command
from benchmarks.judgement import machines, versions
from benchmarks.judgement.__main__ import Account
from benchmarks.judgement.callers import Comes, anonymous, sticky
from benchmarks.judgement.clock import Clock
from benchmarks.judgement.ends import End, Ended
from benchmarks.judgement.requests import Begins
from benchmarks.judgement.situation import Situation
from benchmarks.judgement.situations import FAULTS, NULLS, SITUATIONS
from benchmarks.judgement.world import BEGIN, CANDIDATE_APP, STABLE_APP, World
from hotswap.domain.analysis import Entities, JudgeName, Metric, Reading, Source, Subject
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from tests.fixtures.documents import ROOT

SEED = 7
SHORT = {
    "steps": [{"weight": 50}, {"weight": 100}],
    "monitoringDuration": "PT4S",
    "bakeDeadline": "PT8S",
    "minimumRequests": 20,
}
CLEAR = {
    "3% errors, with records",
    "half of all requests fail",
    "a fifth of requests fails, on record",
    "it freezes, and the gateway gives it up",
    "both versions are down",
    "it refuses everything",
    "it refuses everything, without records",
    "a narrower schema refuses 12%",
    "a narrower schema refuses 12%, without records",
    "it refuses 12%, asked once only",
    "an output that a third names is gone",
    "every answer is NaN",
    "every answer is NaN, without records",
    "one answer to everything",
    "confidence falls to 0.5",
    "labels flip",
    "columns in another order",
    "another number of answers than of instances",
    "no traffic",
    "traffic that ends as it begins",
}


def named(name: str) -> Situation:
    return next(each for each in SITUATIONS if each.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_every_situation_comes_to_an_end_and_no_clear_fault_is_promoted(situation: Situation) -> None:
    ended = situation.run(np.random.default_rng(SEED), SHORT)
    assert ended.seconds <= 20
    assert ended.end is not End.PROMOTED or ended.seconds >= 8, "no bake is shorter than it was asked for"
    if situation.name in CLEAR:
        assert ended.end in situation.right, ended.message
    if situation is NULLS[0]:
        assert (ended.end, ended.hurt) == (End.PROMOTED, 0), ended.message


def test_there_are_as_many_as_were_promised_and_each_has_a_name_of_its_own() -> None:
    names = [each.name for each in SITUATIONS]
    assert len(NULLS) >= 20
    assert len(FAULTS) >= 40
    assert len(set(names)) == len(names)
    assert {each.name for each in FAULTS} >= CLEAR
    assert all(each.is_null for each in NULLS)
    assert not any(each.is_null for each in FAULTS)


def test_ten_of_them_have_a_test_on_real_servers_that_is_there() -> None:
    live = [each.live for each in SITUATIONS if each.live]
    assert len(live) >= 10
    for test in live:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test


@pytest.mark.slow
def test_the_same_numbers_draw_the_same_run() -> None:
    soon = named("3% errors, asked once only")
    one, again, other = (command.run(soon, number, SEED) for number in (0, 0, 1))
    assert one == again
    assert one.message != other.message


# --- the world counts as proxies and records do -----------------------------------------------------------------------


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.loop.close()


@dataclass(frozen=True)
class Seen:
    candidate: Counts
    stable: Counts
    callers: Entities
    answers: Reading
    outcomes: Reading


def seen(clock: Clock, comes: Comes, *effects: Begins, weight: int = TOTAL_WEIGHT // 2, **given: Any) -> Seen:
    """What there is to see after 20 seconds."""
    world = World(np.random.default_rng(SEED), comes, effects, clock=clock, **given)
    subject = Subject("dep-1", "Production", "fraud", CANDIDATE_APP, STABLE_APP, "2", "1", weight, BEGIN)

    async def look() -> Seen:
        world.set_weight(weight)
        await asyncio.sleep(20)
        [report] = await world.reports()
        answers = await world.read(Metric("answers", Source.ANSWERS, JudgeName.COLLAPSE), subject)
        outcomes = await world.read(Metric("accuracy", Source.ACCURACY, JudgeName.MEAN), subject)
        counts = report.counts
        return Seen(counts[CANDIDATE_APP], counts[STABLE_APP], await world.entities(subject), answers, outcomes)

    return clock.loop.run_until_complete(look())


def test_what_the_candidate_fails_the_stable_answers_and_it_is_counted_once(clock: Clock) -> None:
    found = seen(clock, anonymous(), machines.flaky(machines.of_candidate, 0.5))
    mine = found.candidate
    assert mine.server_errors > 50
    assert mine.fell_back == mine.rescued_errors == mine.server_errors
    assert mine.good == sum(mine.latency.values()) == mine.completed - mine.server_errors
    assert found.stable.server_errors == found.stable.fell_back == 0
    assert 500 < mine.completed + found.stable.completed < 700


def test_what_both_refuse_is_refused_and_not_rescued(clock: Clock) -> None:
    mine = seen(clock, anonymous(), versions.refuses(0.2, both=True)).candidate
    assert mine.refused == mine.client_errors > 20
    assert mine.rescued_refusals == 0


def test_a_model_that_must_not_be_asked_twice_is_asked_once(clock: Clock) -> None:
    mine = seen(clock, anonymous(), versions.refuses(0.2), fallback=False).candidate
    assert mine.client_errors > 20
    assert mine.refused == mine.fell_back == 0


def test_callers_keep_their_arm_and_are_counted_once(clock: Clock) -> None:
    found = seen(clock, sticky(40), versions.fails_callers(0.25))
    assert found.callers.candidate + found.callers.stable == 40
    assert 0 < found.callers.candidate_failed < found.callers.candidate / 2
    assert found.callers.candidate_failures == found.candidate.sticky_errors > found.callers.candidate_failed
    assert sum(found.callers.stable_latency.values()) == pytest.approx(found.callers.stable)
    assert found.answers.has_callers


@pytest.mark.parametrize("seconds", [0, 60])
def test_callers_have_a_past_at_the_stable_where_there_are_records(clock: Clock, seconds: int) -> None:
    found = seen(clock, sticky(40), versions.asks_for_much(1, 6.0), seconds_on_record=seconds).callers
    assert sum(found.candidate_relative.values()) == pytest.approx(found.candidate if seconds else 0)
    assert sum(found.stable_relative.values()) == pytest.approx(found.stable if seconds else 0)


def test_nobody_in_particular_has_no_past(clock: Clock) -> None:
    assert seen(clock, anonymous(), seconds_on_record=60).callers.candidate_relative == {}


def test_of_a_request_whose_replica_dies_only_the_stables_answer_is_recorded(clock: Clock) -> None:
    crash = versions.fails_callers(0.25, recorded=False)
    rescued = seen(clock, sticky(40), crash)
    assert rescued.callers.candidate_failures == rescued.candidate.sticky_errors > 20


def test_a_request_that_died_and_was_not_asked_again_has_no_record(clock: Clock) -> None:
    lost = seen(clock, sticky(40), versions.fails_callers(0.25, recorded=False), fallback=False)
    assert lost.callers.candidate_failures == 0
    assert lost.candidate.sticky_errors > 20


def test_outcomes_come_late_and_are_of_what_was_answered(clock: Clock) -> None:
    found = seen(clock, anonymous(), versions.less_accurate(0.5), labels_after=10).outcomes
    assert found.candidate is not None
    assert found.stable is not None
    assert 100 < found.candidate.count < 200
    assert found.candidate.mean == pytest.approx(0.5, abs=0.15)
    assert found.stable.mean == pytest.approx(0.9, abs=0.1)


# --- bars -------------------------------------------------------------------------------------------------------------


def account(situation: Situation, *ends: End) -> Account:
    return Account(situation, tuple(Ended(end, "as drawn", 60.0, 3, 100) for end in ends))


def test_one_wrong_end_in_a_hundred_holds_and_two_do_not() -> None:
    one = account(NULLS[0], End.HELD, *[End.PROMOTED] * 99)
    two = account(FAULTS[0], *[End.PROMOTED] * 2, *[End.ROLLED_BACK] * 98)
    assert (one.holds, one.wrong) == (True, [0])
    assert (two.holds, two.wrong) == (False, [0, 1])
    assert 0.04 < one.at_most < 0.05, "of a hundred runs with one wrong end"
    assert json.loads(command.line([one], seed=1))["holds"]
    assert not json.loads(command.line([one, two], seed=1))["holds"]
    assert not json.loads(command.line([], seed=1))["holds"]


def test_the_command_exits_by_its_bars_and_says_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unmet = replace(named("3% errors, asked once only"), right=NULLS[0].right)
    monkeypatch.setattr(command, "SITUATIONS", (unmet, NULLS[0]))
    monkeypatch.setattr("sys.argv", ["judgement", "--runs=1", "--seed=5", "--processes=1", "--only=asked once only"])
    assert command.main() == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["seed"], said["holds"], said["situations"][0]["wrong"]) == (5, False, 1)
