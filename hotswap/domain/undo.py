"""What a deployment has to undo where it goes back: a log of entries that are data, and so survive its workflow's run.

An undo is pushed before the step that it undoes, since the step may half happen. `workflows/deployment/rollback.py`
runs the log. Each entry has its `kind`, by which it is read again where it crosses Temporal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class WithdrawTraffic:
    """Give the stable all traffic again, verified, and then the replicas for it."""

    kind: Literal["withdraw traffic"] = field(default="withdraw traffic", kw_only=True)
    published: bool = False
    """True if a weight was published: then the deployment ends as RolledBack."""
    promoted: bool = False
    """True if the registry's pointer may have moved: then it moves back with the traffic."""


@dataclass(frozen=True, slots=True)
class RemoveReplicas:
    """Stop the application that this deployment started."""

    application: str
    kind: Literal["remove replicas"] = field(default="remove replicas", kw_only=True)


@dataclass(frozen=True, slots=True)
class LetScaleByLoad:
    """Let these applications scale by load again: under a deployment each has a fixed number of replicas."""

    applications: tuple[str, ...]
    kind: Literal["let scale by load"] = field(default="let scale by load", kw_only=True)


Undo = WithdrawTraffic | RemoveReplicas | LetScaleByLoad


class UndoLog:
    """The undo entries of the steps that were begun, newest last.

    It has one withdrawal at most, which undoes all changes to traffic.
    """

    def __init__(self, entries: Iterable[Undo] = ()) -> None:
        self._entries = list(entries)

    def push(self, undo: Undo) -> None:
        """Write down how to undo the step that comes next; a withdrawal takes over what an earlier one has to undo."""
        if isinstance(undo, WithdrawTraffic) and (earlier := self.withdrawal) is not None:
            self._entries.remove(earlier)
            undo = WithdrawTraffic(
                published=undo.published or earlier.published, promoted=undo.promoted or earlier.promoted
            )
        self._entries.append(undo)

    def replace(self, undo: Undo, by: Undo) -> None:
        """Put what is known better by now in its place."""
        self._entries[self._entries.index(undo)] = by

    def discard(self, undo: Undo) -> None:
        """Drop what has been undone."""
        self._entries.remove(undo)

    @property
    def entries(self) -> tuple[Undo, ...]:
        return tuple(self._entries)

    def newest_first(self) -> tuple[Undo, ...]:
        return tuple(reversed(self._entries))

    @property
    def withdrawal(self) -> WithdrawTraffic | None:
        return next((undo for undo in self._entries if isinstance(undo, WithdrawTraffic)), None)

    @property
    def removed(self) -> tuple[str, ...]:
        """The applications that are to be stopped."""
        return tuple(undo.application for undo in self._entries if isinstance(undo, RemoveReplicas))

    @property
    def scaled_by_load(self) -> tuple[str, ...]:
        """The applications that are to scale by load again, whichever way the deployment ends."""
        return tuple(name for undo in self._entries if isinstance(undo, LetScaleByLoad) for name in undo.applications)
