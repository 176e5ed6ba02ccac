"""The queue, slots and freezes as rows: the limit holds, order is kept, and what waits hears at once of a change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import Deployment, NewDeployment
from hotswap.domain.errors import Conflict, NotFound, ValidationFailed
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.queueing import QueuePosition
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict, Strategy
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.freezes import PostgresFreezes
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.deployments.slots import PostgresConcurrencySlots
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.queue_notifications import PostgresQueueNotifications
from tests.fixtures.patience import patient
from tests.fixtures.rows import actions, admitted, deployment_of, registered

PRODUCTION = Environment.PRODUCTION


async def queued(
    sessions: Sessions,
    on_conflict: OnConflict | None = OnConflict.QUEUE,
    *,
    start_at: datetime | None = None,
    kind: DeploymentKind = DeploymentKind.ROLLOUT,
) -> str:
    def request(deployment_id: str) -> dict[str, object]:
        return {"of": deployment_id, "supersedes": on_conflict is OnConflict.SUPERSEDE}

    waits = start_at is not None or on_conflict in {OnConflict.QUEUE, OnConflict.SUPERSEDE}
    row = await admitted(
        sessions,
        NewDeployment(
            model="fraud",
            version=None,
            environment=PRODUCTION,
            strategy=Strategy.CANARY,
            strategy_config={},
            resources=ReplicaResources(),
            initiated_by="ann",
            kind=kind,
            on_conflict=on_conflict,
            start_at=start_at,
        ),
        queued=request if waits else None,
    )
    return row.deployment_id


async def running(sessions: Sessions) -> str:
    """Opened by a run of its own, and at work."""
    deployment_id = await deployment_of(sessions, "1.0.0")
    await PostgresDeployments(sessions).open(deployment_id, run_id=f"run-{deployment_id}")
    await moved(sessions, deployment_id, S.VALIDATING)
    return deployment_id


async def moved(sessions: Sessions, deployment_id: str, *statuses: S, reason: str | None = None) -> None:
    for status in statuses:
        await PostgresDeployments(sessions).transition(
            deployment_id, status, message=f"now {status}", reason=reason, actor="test"
        )


async def row_of(sessions: Sessions, deployment_id: str) -> Deployment:
    return await PostgresDeploymentReader(sessions).deployment(deployment_id)


async def aged(sessions: Sessions, seconds: int) -> None:
    async with sessions.begin() as session:
        age = {"age": timedelta(seconds=seconds)}
        await session.execute(text("UPDATE deployments SET started_at = started_at - :age"), age)
        await session.execute(text("UPDATE slots SET seen_at = seen_at - :age"), age)


# --- the queue --------------------------------------------------------------------------------------------------------


async def test_who_is_queued_is_called_when_the_one_before_has_ended(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    queue = PostgresDeploymentQueue(sessions)
    first = await running(sessions)
    second, third = [await queued(sessions) for _ in range(2)]
    seen = await queue.states([second, third, first])
    assert seen[first] is None
    assert [each.is_called for each in (seen[second], seen[third]) if each] == [False, False]
    place = (await row_of(sessions, third)).place
    assert place is not None
    assert (place.position, first in place.message) == (2, True)
    assert (await row_of(sessions, first)).place is None
    await moved(sessions, first, S.FAILED)
    seen = await queue.states([second, third])
    assert [each.is_called for each in seen.values() if each] == [True, False]
    brief = await PostgresDeployments(sessions).open(second, run_id="run-2")
    assert brief.status is S.PENDING
    opened = await row_of(sessions, second)
    assert opened.workflow_id == "deployment/Production/fraud"
    assert (await queue.states([second]))[second] is None


async def test_leaving_and_being_opened_exclude_each_other(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    queue, deployments = PostgresDeploymentQueue(sessions), PostgresDeployments(sessions)
    for _ in range(5):
        contended = await queued(sessions)
        left, brief = await asyncio.gather(
            queue.leave(contended, S.CANCELLED, reason=Reason.ABORTED, message="aborted", actor="bob"),
            deployments.open(contended, run_id=f"run-{contended}"),
        )
        row = await row_of(sessions, contended)
        if left:
            assert (row.status, row.run_id, brief.status) == (S.CANCELLED, None, S.CANCELLED)
        else:
            assert (row.status, row.run_id) == (S.PENDING, f"run-{contended}")
            await moved(sessions, contended, S.CANCELLED)
    assert not await queue.leave("dep-none", S.CANCELLED, reason=Reason.ABORTED, message="-", actor="bob")
    again = await queued(sessions)
    leave = partial(queue.leave, again, S.CANCELLED, reason=Reason.ABORTED, message="aborted by bob", actor="bob")
    assert await leave() is True
    assert await leave() is False
    assert await actions(sessions, again) == ["request rollout", "status Cancelled"]


async def test_superseding_cancels_who_waited_before_and_names_the_run_to_abort(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    queue = PostgresDeploymentQueue(sessions)
    first = await running(sessions)
    waiting = await queued(sessions)
    later = await queued(sessions, start_at=datetime.now(UTC) + timedelta(hours=1))
    superseding = await queued(sessions, OnConflict.SUPERSEDE)
    after = await queued(sessions)
    (under_way,) = await queue.make_way(superseding)
    assert (under_way.deployment_id, under_way.run_id) == (first, f"run-{first}")
    for ended in (waiting, later):
        row = await row_of(sessions, ended)
        assert (row.status, row.reason) == (S.CANCELLED, Reason.SUPERSEDED)
        assert superseding in (row.message or "")
    assert (await row_of(sessions, after)).status == S.PENDING
    await moved(sessions, first, S.CANCELLED, reason=Reason.SUPERSEDED)
    assert await queue.make_way(superseding) == ()
    seen = (await queue.states([superseding]))[superseding]
    assert seen is not None
    assert seen.is_called


async def test_the_reconciler_is_told_of_those_whose_turn_has_come_and_leaves_the_others_alone(
    sessions: Sessions,
) -> None:
    await registered(sessions, "1.0.0")
    queue, deployments = PostgresDeploymentQueue(sessions), PostgresDeployments(sessions)
    first = await running(sessions)
    second, _ = [await queued(sessions) for _ in range(2)]
    await queued(sessions, start_at=datetime.now(UTC) + timedelta(hours=1))
    await moved(sessions, first, S.FAILED)
    assert await queue.called() == [], "just accepted: the API is about to start what waits for it"
    await aged(sessions, 300)
    assert [each["of"] for each in await queue.called()] == [second]
    assert await deployments.unfinished() == [], "none of them has lost anything"


async def test_without_a_word_on_conflict_nobody_jumps_the_line(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    first = await running(sessions)
    waiting = await queued(sessions)
    for on_conflict in (None, OnConflict.REJECT):
        with pytest.raises(Conflict) as refusal:
            await queued(sessions, on_conflict)
        assert all(word in refusal.value.message for word in (first, waiting, "--on-conflict queue"))
    back = await queued(sessions, None, kind=DeploymentKind.ROLLBACK)
    assert (await row_of(sessions, back)).kind == "rollback"


# --- slots ------------------------------------------------------------------------------------------------------------


async def slot_seekers(sessions: Sessions, count: int) -> list[str]:
    """Deployments that were opened, each by a run of its own; a slot asks nobody of which model he is."""
    await registered(sessions, "1.0.0")
    made = []
    for number in range(count):
        made.append(await deployment_of(sessions, "1.0.0"))
        async with sessions.begin() as session:
            await session.execute(
                text("UPDATE deployments SET run_id = :run WHERE deployment_id = :id"),
                {"id": made[-1], "run": f"run-{number}"},
            )
    return made


async def holders(sessions: Sessions) -> int:
    async with sessions() as session:
        found = await session.scalar(
            text(
                "SELECT count(*) FROM slots JOIN deployments USING (deployment_id) WHERE taken_at IS NOT NULL "
                "AND status NOT IN ('Active', 'RolledBack', 'Cancelled', 'Failed')"
            )
        )
    return found or 0


async def test_slots_go_round_in_order_and_their_holders_are_never_too_many(sessions: Sessions) -> None:
    """Asked by three workers, each for his own."""
    rest = await slot_seekers(sessions, 12)
    workers = [PostgresConcurrencySlots(sessions, limit=3) for _ in range(3)]
    await PostgresConcurrencySlots(sessions, limit=0).places(rest)
    while rest:
        places: dict[str, QueuePosition | None] = {}
        for _ in range(2):  # who asked first may not have seen what another was given
            asked = (worker.places(rest[number::3]) for number, worker in enumerate(workers) if rest[number::3])
            for answer in await asyncio.gather(*asked):
                places |= answer
            assert await holders(sessions) <= 3
        running = [name for name in rest if places[name] is None]
        assert running == rest[:3]
        assert [place.position for name in rest[3:] if (place := places[name])] == list(range(1, len(rest) - 2))
        ended = running[len(running) // 2]
        await moved(sessions, ended, S.FAILED)
        rest.remove(ended)


async def test_a_slot_is_kept_by_who_asks_again_and_by_nobody_who_has_ended(sessions: Sessions) -> None:
    first, second = await slot_seekers(sessions, 2)
    slots = PostgresConcurrencySlots(sessions, limit=1)
    assert await slots.places([first]) == {first: None}
    assert (await slots.places([first, second]))[first] is None
    place = (await row_of(sessions, second)).place
    assert place is not None
    assert (place.position, "1 deployments run" in place.message) == (1, True)
    await moved(sessions, first, S.CANCELLED)
    assert await slots.places([second]) == {second: None}


async def test_who_was_approved_and_waits_is_pending_again(sessions: Sessions) -> None:
    first, second = await slot_seekers(sessions, 2)
    slots = PostgresConcurrencySlots(sessions, limit=1)
    await slots.places([first])
    await moved(sessions, second, S.AWAITING_APPROVAL)
    for _ in range(2):
        await slots.places([second])
    assert (await row_of(sessions, second)).status == S.PENDING
    assert await actions(sessions, second) == ["request rollout", "status AwaitingApproval", "status Pending"]


async def test_the_owners_of_an_outage_come_back_in_any_order_and_are_served_in_theirs(sessions: Sessions) -> None:
    first, second, third = await slot_seekers(sessions, 3)
    before = PostgresConcurrencySlots(sessions, limit=1)
    await before.places([first, second, third])
    await moved(sessions, first, S.FAILED)
    await aged(sessions, 60)
    after = PostgresConcurrencySlots(sessions, limit=1)
    assert (await after.places([third]))[third] is not None, "the one before it may be about to come back"
    assert (await after.places([second]))[second] is None
    await moved(sessions, second, S.FAILED)
    assert (await after.places([third]))[third] is None


# --- notifications ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening(engine: AsyncEngine) -> AsyncIterator[asyncio.Event]:
    heard = asyncio.Event()
    async with PostgresQueueNotifications(engine).listening(heard.set):
        await asyncio.wait_for(heard.wait(), patient(20))  # it listens
        heard.clear()
        yield heard


async def test_an_end_is_heard_when_it_is_committed_and_only_then(sessions: Sessions, engine: AsyncEngine) -> None:
    await registered(sessions, "1.0.0")
    first = await running(sessions)
    async with listening(engine) as heard:
        await moved(sessions, first, S.DEPLOYING)
        with pytest.raises(Conflict):
            await moved(sessions, first, S.ACTIVE)
        await asyncio.sleep(0.1)
        assert not heard.is_set()
        await moved(sessions, first, S.FAILED)
        await asyncio.wait_for(heard.wait(), patient(20))


async def test_who_listens_hears_again_after_his_connection_was_lost(sessions: Sessions, engine: AsyncEngine) -> None:
    await registered(sessions, "1.0.0")
    first = await running(sessions)
    async with listening(engine) as heard:
        async with sessions() as session:
            await session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        await asyncio.wait_for(heard.wait(), patient(10))  # it may have missed something, so it looks
        heard.clear()
        await moved(sessions, first, S.FAILED)
        await asyncio.wait_for(heard.wait(), patient(20))


# --- freezes ----------------------------------------------------------------------------------------------------------


async def test_a_freeze_lets_in_only_what_waits_for_its_end(sessions: Sessions, engine: AsyncEngine) -> None:
    await registered(sessions, "1.0.0")
    freezes, queue = PostgresFreezes(sessions), PostgresDeploymentQueue(sessions)
    until = datetime.now(UTC) + timedelta(hours=2)
    async with listening(engine) as heard:
        freeze = await freezes.add(PRODUCTION, reason="holidays", starts_at=None, until=until, by="ann")
        await asyncio.wait_for(heard.wait(), patient(20))
    with pytest.raises(Conflict, match=r"Production is frozen until .*Z \(holidays\)"):
        await queued(sessions, None)
    with pytest.raises(Conflict, match="frozen"):
        await queued(sessions, OnConflict.SUPERSEDE)
    with pytest.raises(Conflict, match="frozen"):
        await queued(sessions, None, start_at=until - timedelta(hours=1))
    waiting = await queued(sessions)
    await queued(sessions, None, start_at=until + timedelta(hours=1))
    await queued(sessions, None, kind=DeploymentKind.ROLLBACK)
    place = (await row_of(sessions, waiting)).place
    assert place is not None
    assert "frozen" in place.message
    async with listening(engine) as heard:
        lifted = await freezes.lift(freeze.freeze_id, by="bob")
        await asyncio.wait_for(heard.wait(), patient(20))
    assert lifted.until < until
    seen = (await queue.states([waiting]))[waiting]
    assert seen is not None
    assert seen.freeze is None
    assert await actions(sessions, "Production") == ["freeze", "thaw"]
    with pytest.raises(Conflict, match="already"):
        await freezes.lift(freeze.freeze_id, by="bob")
    with pytest.raises(NotFound):
        await freezes.lift("frz-none", by="bob")


async def test_nobody_gets_a_slot_in_a_frozen_environment_and_who_has_one_keeps_it(sessions: Sessions) -> None:
    first, second = await slot_seekers(sessions, 2)
    slots = PostgresConcurrencySlots(sessions, limit=5)
    assert await slots.places([first]) == {first: None}
    until = datetime.now(UTC) + timedelta(hours=1)
    await PostgresFreezes(sessions).add(PRODUCTION, reason="holidays", starts_at=None, until=until, by="ann")
    places = await slots.places([first, second])
    assert places[first] is None
    assert places[second] is not None
    async with sessions.begin() as session:
        await session.execute(text("UPDATE freezes SET until = now()"))
    assert await slots.places([second]) == {second: None}


async def test_a_planned_freeze_holds_when_its_time_has_come(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    now = datetime.now(UTC)
    freezes = PostgresFreezes(sessions)
    begins, until = now + timedelta(hours=2), now + timedelta(hours=4)
    planned = await freezes.add(PRODUCTION, reason="holidays", starts_at=begins, until=until, by="ann")
    assert await freezes.all() == [planned]
    assert await freezes.all(environment=Environment.STAGING) == []
    await queued(sessions, None)
    with pytest.raises(Conflict, match="frozen"):
        await queued(sessions, None, start_at=now + timedelta(hours=3))


async def test_a_start_that_is_past_is_refused_by_name(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    with pytest.raises(ValidationFailed) as refusal:
        await queued(sessions, None, start_at=datetime.now(UTC) - timedelta(minutes=1))
    assert refusal.value.details[0].field == "startAt"
