"""A part of a list, and where it goes on."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
PageKey = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list to read: so many rows `after` the row of that sort key, `offset` rows skipped."""

    limit: int = 50
    offset: int = 0
    after: PageKey | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """A part of a list that has `total` rows in all; `next` is the sort key to go on after, None at the end."""

    items: tuple[Item, ...]
    total: int
    next: PageKey | None = None


FIRST = Window()
