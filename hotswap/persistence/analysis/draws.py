"""Sums of values of which one caller's say little about each other: each caller counts once, by its mean.

Callers that keep their arm are all at one version, with whatever they ask for; so their requests are no independent
draws, and each of them is one. A request of nobody in particular is a draw of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute

from hotswap.domain.analysis import Moments, Reading

AnyColumn = ColumnElement[Any] | InstrumentedAttribute[Any]
Condition = ColumnElement[bool] | InstrumentedAttribute[bool]


@dataclass(frozen=True, slots=True)
class Values:
    """One group's: the moments of all values, and those of its draws; None where no caller is known."""

    all: Moments
    draws: Moments | None


def summed(value: ColumnElement[Any], *where: Condition, entity: AnyColumn, groups: Sequence[AnyColumn]) -> Select[Any]:
    """Return a query of the groups' columns, and then of the columns that `read` takes."""
    each = (
        select(
            *(group.label(f"group{number}") for number, group in enumerate(groups)),
            entity.label("entity"),
            func.count(value).label("number"),
            func.sum(value).label("total"),
            func.sum(value * value).label("squares"),
        )
        .where(*where)
        .group_by(*groups, entity)
        .subquery()
        .c
    )
    is_caller = and_(each.entity.is_not(None), each.number > 0)
    mean = each.total / func.nullif(each.number, 0)
    by = [each[f"group{number}"] for number in range(len(groups))]
    return select(
        *by,
        func.sum(each.number),
        func.sum(each.total),
        func.sum(each.squares),
        func.count().filter(is_caller),
        func.sum(case((is_caller, 1), else_=each.number)),
        func.sum(case((is_caller, mean), else_=each.total)),
        func.sum(case((is_caller, mean * mean), else_=each.squares)),
    ).group_by(*by)


def weighed(category: ColumnElement[Any], *where: Condition, entity: AnyColumn, arm: AnyColumn) -> Any:
    """Return the columns of a row for each arm, caller and category: `arm`, `entity`, `category`, `weight`.

    A caller's values weigh 1 together, and each value without a caller weighs 1.
    """
    each = (
        select(arm.label("arm"), entity.label("entity"), category.label("category"), func.count().label("number"))
        .where(*where)
        .group_by(arm, entity, category)
        .subquery()
        .c
    )
    of_caller = func.sum(each.number).over(partition_by=[each.arm, each.entity])
    weight = case((each.entity.is_(None), each.number), else_=each.number / of_caller)
    return select(each.arm, each.entity, each.category, weight.label("weight")).subquery().c


def read(number: Any, total: Any, squares: Any, callers: Any, *draws: Any) -> Values:
    """Read the columns of `summed` after its groups."""
    of_all = Moments(int(number), float(total or 0.0), float(squares or 0.0))
    if not callers:
        return Values(of_all, None)
    drawn, drawn_total, drawn_squares = draws
    return Values(of_all, Moments(int(drawn), float(drawn_total or 0.0), float(drawn_squares or 0.0)))


def reading(at: float, candidate: Values | None, stable: Values | None) -> Reading:
    """Return the reading of two arms; it has draws only where either has callers."""
    mine, theirs = (each or Values(Moments(), None) for each in (candidate, stable))
    if mine.draws is None and theirs.draws is None:
        return Reading(at, candidate=mine.all, stable=theirs.all)
    return Reading(
        at,
        candidate=mine.all,
        stable=theirs.all,
        candidate_draws=mine.draws or mine.all,
        stable_draws=theirs.draws or theirs.all,
    )
