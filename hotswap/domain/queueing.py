"""Who may start now, and who waits behind whom: the turns of one model in one environment, and the slots of all.

Pure: rows and a clock go in, places come out. Order is by ticket, which is drawn when a request is accepted. What can't
start now (its time hasn't come, its environment is frozen, its owner is gone) keeps nobody else waiting. That Temporal
lets one deployment of a model run at a time, and that PostgreSQL gives each slot once, is ensured where they are asked.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hotswap.domain.times import written
from hotswap.domain.vocabulary import DeploymentKind, Environment

SEEN_LATELY = timedelta(seconds=20)
"""Who waits is seen at every look, at the latest each five seconds."""

GONE_AFTER = timedelta(seconds=30)
"""How long one must have looked himself before who wasn't seen counts as gone: a killed worker's come back in this."""

HOW_TO_WAIT = "`--on-conflict queue` (onConflict) waits in line, `--on-conflict supersede` ends what is before it"
"""What somebody is told who could wait."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """From `starts_at` until `until` no rollout starts in its environment; what has started goes on."""

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
    """A deployment that has not ended, by its row; `is_queued` until a workflow of its own has taken it up."""

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
    """Where one that waits is: 1 is next; None while its time hasn't come."""

    position: int | None
    message: str


@dataclass(frozen=True, slots=True)
class QueueState:
    """What one that waits for its turn waits for.

    `overtakes` is what it ends if it supersedes, once it is due: what waits before it, and the rollout under way. A
    rollback under way is waited for: ending it halfway would bring back what somebody wanted gone.
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


def standings_of(
    entries: Iterable[QueueEntry], *, freezes: Mapping[Environment, Freeze], now: datetime
) -> dict[str, QueueState]:
    """Of each that is queued, among all that have not ended; `freezes` are those that hold now."""
    lines: dict[tuple[Environment, str], list[QueueEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.ticket):
        lines.setdefault((entry.environment, entry.model), []).append(entry)
    return {
        mine.deployment_id: _standing(mine, line, freeze=freezes.get(environment), now=now)
        for (environment, _), line in lines.items()
        for mine in line
        if mine.is_queued
    }


def _standing(mine: QueueEntry, line: Sequence[QueueEntry], *, freeze: Freeze | None, now: datetime) -> QueueState:
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
    """One that wants to run; `seen` is how long ago its owner last asked."""

    deployment_id: str
    environment: Environment
    has_slot: bool
    seen: timedelta


def granted(
    line: Sequence[SlotRequest], *, limit: int, frozen: Collection[Environment], watched: timedelta
) -> tuple[str, ...]:
    """Who gets a slot now; `line` is by ticket, `watched` how long this observer has been looking.

    After an outage nobody has been seen lately. Whoever comes back first must not overtake the others, so he waits
    for those before him, until the observer has looked for long enough to know that they are gone.
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
    """Where each stands that waits for a slot; `line` is by ticket, and `freezes` are those that hold now."""
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
    """What holds each environment at that time; of several the one that ends last."""
    held = sorted((freeze for freeze in freezes if freeze.covers(at)), key=lambda freeze: freeze.until)
    return {freeze.environment: freeze for freeze in held}
