"""Lists by pages, of which none repeats or leaves out what it had when others come and go meanwhile.

A page goes on after the sort key of the last row that was shown, not after a number of rows. Who counts rows instead
(`offset`) gets what is there at that number now.
"""

from collections.abc import Callable, Sequence
from operator import gt, lt
from typing import Any, TypeVar, TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hotswap.domain.paging import Listing, PageKey, Window

Item = TypeVar("Item")
Columns = TypeVarTuple("Columns")


def narrowed(wanted: Select[*Columns], *filters: tuple[InstrumentedAttribute[Any], Any]) -> Select[*Columns]:
    """Keep the rows whose columns have these values; None matches everything."""
    for column, value in filters:
        if value is not None:
            wanted = wanted.where(column == value)
    return wanted


async def page(
    session: AsyncSession,
    wanted: Select[*tuple[Any, ...]],
    order: Sequence[InstrumentedAttribute[Any]],
    window: Window,
    *,
    is_counted: bool = True,
) -> Listing[Row[*tuple[Any, ...]]]:
    """Return a page of `wanted` in falling `order`, whose columns together are unique and stand at the rows' ends.

    Where it isn't counted the total is 0.
    """
    total = 0
    if is_counted:
        total = (await session.scalars(select(func.count()).select_from(wanted.subquery()))).one()
    key = [column.label(f"key_{number}") for number, column in enumerate(order)]
    ordered = wanted.add_columns(*key).order_by(*(column.desc() for column in order))
    if window.after is not None:
        last: list[ColumnElement[Any]] = [
            literal(value, column.type) for value, column in zip(window.after, order, strict=True)
        ]
        ordered = ordered.where(tuple_(*order) < tuple_(*last))
    # One more than is shown says whether there is a next page.
    found = (await session.execute(ordered.offset(window.offset).limit(window.limit + 1))).all()
    rows = found[: window.limit]
    is_last = len(found) <= window.limit or not rows
    return Listing(tuple(rows), total, None if is_last else tuple(rows[-1][-len(order) :]))


def part(rows: Sequence[Item], key: Callable[[Item], PageKey], window: Window, *, falling: bool) -> Listing[Item]:
    """Return a page of rows that are all in memory, and in that order."""
    comes_later = lt if falling else gt
    left = [row for row in rows if window.after is None or comes_later(key(row), window.after)]
    shown = tuple(left[window.offset : window.offset + window.limit])
    is_last = window.offset + window.limit >= len(left)
    return Listing(shown, len(rows), None if is_last or not shown else key(shown[-1]))
