"""Rows as frozen dataclasses of the domain, so that nothing outside persistence holds an entity or its session."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from hotswap.persistence.tables.base import Base

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")


def plain(kind: type[Kind], row: Base, **others: Any) -> Kind:
    """Make one of `kind` of the columns that its fields are named like, and of `others`."""
    names = [each.name for each in fields(kind) if each.name not in others]
    return kind(**{name: getattr(row, name) for name in names}, **others)
