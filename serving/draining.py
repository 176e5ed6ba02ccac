"""Things that are kept for a while after the plan has let go of them, as a request may still be on its way there."""

from collections.abc import Set
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Draining(Generic[Kept]):
    """`seconds` is how long a thing is kept after the first plan without it; one that comes back is wanted again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[Kept, float] = {}

    def beside(self, wanted: Set[Kept], *, before: Set[Kept], now: float) -> set[Kept]:
        """Return what is wanted, and what must be kept beside it; `now` is the time of a monotonic clock."""
        for each in before - wanted:
            self._until.setdefault(each, now + self._seconds)
        self._until = {each: until for each, until in self._until.items() if until > now and each not in wanted}
        return {*wanted, *self._until}
