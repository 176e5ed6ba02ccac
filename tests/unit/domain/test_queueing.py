"""Turns, slots and freezes: who may start, who waits behind whom, and nobody twice."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.queueing import (
    GONE_AFTER,
    SEEN_LATELY,
    Freeze,
    QueueEntry,
    QueueState,
    SlotRequest,
    granted,
    in_force,
    slot_places,
    states_of,
)
from hotswap.domain.vocabulary import DeploymentKind, Environment

NOW = datetime(2026, 12, 24, 18, tzinfo=UTC)
PRODUCTION, STAGING = Environment.PRODUCTION, Environment.STAGING
LONG_AGO = timedelta(minutes=2)


def entry(
    ticket: int,
    *,
    queued: bool = True,
    kind: DeploymentKind = DeploymentKind.ROLLOUT,
    environment: Environment = PRODUCTION,
    model: str = "fraud",
    supersedes: bool = False,
    start_at: datetime | None = None,
) -> QueueEntry:
    return QueueEntry(
        f"dep-{ticket}",
        ticket,
        kind,
        environment,
        model,
        is_queued=queued,
        supersedes=supersedes,
        start_at=start_at,
        run_id=None if queued else f"run-{ticket}",
    )


def freeze(*, hours: float, environment: Environment = PRODUCTION, begins: float = -1) -> Freeze:
    starts, until = NOW + timedelta(hours=begins), NOW + timedelta(hours=hours)
    return Freeze(f"frz-{hours}", environment, "holidays", starts, until, "ann")


def state(mine: int, *entries: QueueEntry, frozen: bool = False) -> QueueState:
    freezes = {PRODUCTION: freeze(hours=6)} if frozen else {}
    return states_of(entries, freezes=freezes, now=NOW)[f"dep-{mine}"]


def names(entries: tuple[QueueEntry, ...]) -> list[str]:
    return [each.deployment_id for each in entries]


def test_one_waits_for_what_is_under_way_and_for_who_came_before() -> None:
    line = [entry(1, queued=False), entry(2), entry(3)]
    assert states_of(line, freezes={}, now=NOW).keys() == {"dep-2", "dep-3"}
    assert not state(2, *line).is_called
    assert state(3, *line).place.position == 2
    assert "dep-1 is under way" in state(3, *line).place.message
    assert state(2, *line[1:]).is_called
    assert "dep-2 is next" in state(3, *line[1:]).place.message


def test_a_rollback_that_came_later_is_waited_for_all_the_same() -> None:
    assert not state(2, entry(2), entry(3, queued=False, kind=DeploymentKind.ROLLBACK)).is_called


@pytest.mark.parametrize(
    "elsewhere", [entry(1, queued=False, environment=STAGING), entry(1, queued=False, model="churn")]
)
def test_other_models_and_environments_are_other_lines(elsewhere: QueueEntry) -> None:
    assert state(2, elsewhere, entry(2)).is_called


def test_what_starts_later_keeps_nobody_waiting_until_it_is_due() -> None:
    later, due = NOW + timedelta(hours=1), NOW - timedelta(seconds=1)
    assert state(2, entry(1, start_at=later), entry(2)).is_called
    assert not state(2, entry(1, start_at=due), entry(2)).is_called
    waiting = state(1, entry(1, start_at=later), entry(2))
    assert not waiting.is_called
    assert (waiting.place.position, waiting.place.message) == (None, "starts at 2026-12-24T19:00:00Z")


def test_nothing_is_called_in_a_frozen_environment_and_nobody_is_overtaken() -> None:
    frozen = state(2, entry(1, queued=False), entry(2, supersedes=True), frozen=True)
    assert (frozen.is_called, frozen.overtakes) == (False, ())
    assert "Production is frozen until 2026-12-25T00:00:00Z (holidays)" in frozen.place.message
    assert not state(2, entry(2), frozen=True).is_called


def test_superseding_ends_the_rollout_under_way_and_what_waited_before_but_nothing_newer() -> None:
    later = NOW + timedelta(days=1)
    line = [entry(1, queued=False), entry(2), entry(3, start_at=later), entry(4, supersedes=True), entry(5)]
    assert names(state(4, *line).overtakes) == ["dep-1", "dep-2", "dep-3"]
    assert state(5, *line).overtakes == ()


def test_superseding_waits_for_its_own_time_and_for_a_rollback() -> None:
    early = entry(2, supersedes=True, start_at=NOW + timedelta(hours=1))
    assert state(2, entry(1, queued=False), early).overtakes == ()
    back = entry(1, queued=False, kind=DeploymentKind.ROLLBACK)
    waiting = state(2, back, entry(2, supersedes=True))
    assert (waiting.is_called, waiting.overtakes) == (False, ())


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from([None, -1, 1]))))
def test_at_most_one_of_a_line_is_called_and_never_beside_one_under_way(
    line: list[tuple[bool, bool, int | None]],
) -> None:
    entries = [
        entry(ticket, queued=queued, supersedes=superseding, start_at=NOW + timedelta(hours=at) if at else None)
        for ticket, (queued, superseding, at) in enumerate(line)
    ]
    called = [each for each in states_of(entries, freezes={}, now=NOW).values() if each.is_called]
    assert len(called) <= 1
    if any(not each.is_queued for each in entries):
        assert called == []


def asked(
    name: int, *, seen: timedelta = timedelta(0), slot: bool = False, where: Environment = STAGING
) -> SlotRequest:
    return SlotRequest(f"dep-{name}", where, slot, seen)


def test_free_slots_are_given_in_order_and_no_more_than_there_are() -> None:
    line = [asked(1, slot=True, seen=LONG_AGO), *(asked(number) for number in range(2, 9))]
    assert granted(line, limit=3, frozen=(), watched=timedelta(0)) == ("dep-2", "dep-3")
    assert granted(line, limit=1, frozen=(), watched=LONG_AGO) == ()


def test_who_is_gone_is_passed_over_and_who_may_come_back_is_waited_for() -> None:
    line = [asked(1, seen=LONG_AGO), asked(2), asked(3)]
    assert granted(line, limit=3, frozen=(), watched=timedelta(0)) == ()
    assert granted(line, limit=3, frozen=(), watched=GONE_AFTER) == ("dep-2", "dep-3")
    assert granted(line, limit=1, frozen=(), watched=GONE_AFTER) == ("dep-2",)
    assert granted([*line[1:], line[0]], limit=3, frozen=(), watched=timedelta(0)) == ("dep-2", "dep-3")


def test_a_frozen_environment_keeps_no_other_waiting() -> None:
    line = [asked(1, where=PRODUCTION), asked(2)]
    assert granted(line, limit=1, frozen={PRODUCTION}, watched=timedelta(0)) == ("dep-2",)
    places = slot_places(line, freezes=[freeze(hours=6)])
    assert "is frozen until" in places["dep-1"].message
    assert (places["dep-2"].position, "0 deployments run" in places["dep-2"].message) == (2, True)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.sampled_from(list(Environment)))),
    st.integers(1, 6),
    st.sets(st.sampled_from(list(Environment))),
    st.integers(0, 60),
)
def test_no_slot_is_given_twice_or_to_the_frozen_or_past_one_who_may_come_back(
    line: list[tuple[bool, int, Environment]], limit: int, frozen: set[Environment], watched: int
) -> None:
    requests = [
        asked(name, slot=slot, seen=timedelta(seconds=seen), where=where)
        for name, (slot, seen, where) in enumerate(line)
    ]
    given_to = granted(requests, limit=limit, frozen=frozen, watched=timedelta(seconds=watched))
    by_name = {each.deployment_id: each for each in requests}
    holders = sum(each.has_slot for each in requests)
    assert len(given_to) == len(set(given_to)) <= max(0, limit - holders)
    assert not any(by_name[name].has_slot or by_name[name].environment in frozen for name in given_to)
    waiting = [each.deployment_id for each in requests if not each.has_slot and each.environment not in frozen]
    if watched < GONE_AFTER.total_seconds():
        assert list(given_to) == waiting[: len(given_to)], "nobody was passed over"
    assert all(by_name[name].seen <= SEEN_LATELY for name in given_to)


def test_of_several_freezes_the_one_that_ends_last_is_in_force() -> None:
    planned = freeze(hours=50, begins=48)
    freezes = [freeze(hours=6), freeze(hours=2), planned, freeze(hours=1, environment=STAGING)]
    assert in_force(freezes, at=NOW) == {PRODUCTION: freezes[0], STAGING: freezes[3]}
    assert in_force(freezes, at=NOW + timedelta(hours=6)) == {}
    assert in_force(freezes, at=NOW + timedelta(hours=49)) == {PRODUCTION: planned}
