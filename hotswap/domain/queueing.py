"""The queue: the turns of one model in one environment, and the slots that all deployments share.

Pure: it takes rows and a clock, and returns positions. The order is by ticket, which is drawn when a request is
accepted. A deployment that can't start now (its time hasn't come, its environment is frozen, its owner is gone) holds
up no other. Temporal ensures that one deployment of a model runs at a time, and PostgreSQL that each slot is given
once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hotswap.domain.times import written
from hotswap.domain.vocabulary import DeploymentKind, Environment

SEEN_LATELY = timedelta(seconds=20)
"""A waiting owner is seen at every poll, at least every five seconds."""

GONE_AFTER = timedelta(seconds=30)
"""An owner that wasn't seen counts as gone once the observer has observed for so long: time for a worker to restart."""

HOW_TO_WAIT = "`--on-conflict queue` (onConflict) waits in line, `--on-conflict supersede` ends what is before it"
"""The advice in a refusal to somebody who could wait."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze: between `starts_at` and `until` no rollout starts in its environment; one that has started goes on."""

    freeze_id: str
    environment: Environment
    reason: str
    starts_at: datetime
    until: datetime
    created_by: str

    def covers(self, at: datetime) -> bool:
        return self.starts_at <= at < self.until

    def __str__(self) -> str:
        return f"{self.environment} is frozen until {written(self.until)} ({self.reason})"


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A deployment that has not ended, by its row; it `is_queued` until its own workflow has started."""

    deployment_id: str
    ticket: int
    kind: DeploymentKind
    environment: Environment
    model: str
    is_queued: bool
    supersedes: bool = False
    start_at: datetime | None = None
    workflow_id: str = ""
    run_id: str | None = None

    def is_due(self, now: datetime) -> bool:
        return self.start_at is None or self.start_at <= now


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The position of a waiting deployment: 1 is next; None while its time hasn't come."""

    position: int | None
    message: str


@dataclass(frozen=True, slots=True)
class QueueState:
    """The state of a queued deployment: what it waits for.

    `overtakes` lists what it ends if it supersedes, once it is due: what waits before it, and the rollout that runs. It
    waits for a rollback that runs: ending that halfway would bring back what somebody wanted gone.
    """

    entry: QueueEntry
    under_way: tuple[QueueEntry, ...] = ()
    before: tuple[QueueEntry, ...] = ()
    overtakes: tuple[QueueEntry, ...] = ()
    freeze: Freeze | None = None
    is_due: bool = True

    @property
    def is_called(self) -> bool:
        return self.is_due and self.freeze is None and not self.under_way and not self.before

    @property
    def place(self) -> QueuePosition:
        if not self.is_due and self.entry.start_at is not None:
            return QueuePosition(None, f"starts at {written(self.entry.start_at)}")
        position = len(self.before) + 1
        if self.freeze is not None:
            return QueuePosition(position, f"{self.freeze}; it waits for that, as number {position} in line")
        if self.under_way:
            whom = f"{self.under_way[0].deployment_id} is under way"
        elif self.before:
            whom = f"{self.before[0].deployment_id} is next"
        else:
            return QueuePosition(position, "its turn has come")
        return QueuePosition(position, f"waits for its turn, as number {position} in line: {whom}")


def states_of(
    entries: Iterable[QueueEntry], *, freezes: Mapping[Environment, Freeze], now: datetime
) -> dict[str, QueueState]:
    """Return the state of each queued entry among all that have not ended; `freezes` are those in force now."""
    lines: dict[tuple[Environment, str], list[QueueEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.ticket):
        lines.setdefault((entry.environment, entry.model), []).append(entry)
    return {
        mine.deployment_id: _state(mine, line, freeze=freezes.get(environment), now=now)
        for (environment, _), line in lines.items()
        for mine in line
        if mine.is_queued
    }


def _state(mine: QueueEntry, line: Sequence[QueueEntry], *, freeze: Freeze | None, now: datetime) -> QueueState:
    under_way = tuple(entry for entry in line if not entry.is_queued)
    before = tuple(entry for entry in line if entry.is_queued and entry.ticket < mine.ticket and entry.is_due(now))
    overtakes: tuple[QueueEntry, ...] = ()
    if mine.supersedes and mine.is_due(now) and freeze is None:
        overtakes = tuple(entry for entry in line if _is_overtaken(entry, by=mine))
    return QueueState(mine, under_way, before, overtakes, freeze, mine.is_due(now))


def _is_overtaken(entry: QueueEntry, *, by: QueueEntry) -> bool:
    return entry.ticket < by.ticket and entry.kind is DeploymentKind.ROLLOUT


# --- slots ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A deployment that wants a slot; `seen` is how long ago its owner last asked."""

    deployment_id: str
    environment: Environment
    has_slot: bool
    seen: timedelta


def granted(
    line: Sequence[SlotRequest], *, limit: int, frozen: Collection[Environment], watched: timedelta
) -> tuple[str, ...]:
    """Return the deployments that get a slot now; `line` is by ticket, `watched` how long this observer has observed.

    After an outage nobody has been seen lately. The owner that comes back first must not overtake the others, so it
    waits for those before it until the observer has observed long enough to know that they are gone.
    """
    free = limit - sum(request.has_slot for request in line)
    given: list[str] = []
    for request in line:
        if request.has_slot or request.environment in frozen:
            continue
        is_there = request.seen <= SEEN_LATELY
        if len(given) >= free or not (is_there or watched >= GONE_AFTER):
            break
        if is_there:
            given.append(request.deployment_id)
    return tuple(given)


def slot_places(line: Sequence[SlotRequest], *, freezes: Iterable[Freeze]) -> dict[str, QueuePosition]:
    """Return the positions of all that wait for a slot; `line` is by ticket, and `freezes` are those in force now."""
    held = {freeze.environment: freeze for freeze in freezes}
    running = sum(request.has_slot for request in line)
    places: dict[str, QueuePosition] = {}
    for request in line:
        if request.has_slot:
            continue
        position = len(places) + 1
        cause = f"{held[request.environment]}" if request.environment in held else f"{running} deployments run"
        places[request.deployment_id] = QueuePosition(
            position, f"waits for a slot, as number {position} in line: {cause}"
        )
    return places


def in_force(freezes: Iterable[Freeze], *, at: datetime) -> dict[Environment, Freeze]:
    """Return the freeze of each environment at that time; if there are several, the one that ends last."""
    held = sorted((freeze for freeze in freezes if freeze.covers(at)), key=lambda freeze: freeze.until)
    return {freeze.environment: freeze for freeze in held}
