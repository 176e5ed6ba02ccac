"""No entity of SQLAlchemy leaves persistence: what its adapters answer, and what they answer is made of."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

import hotswap.persistence
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.tables import Base, Model

MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.walk_packages(hotswap.persistence.__path__, "hotswap.persistence.")
    if ".migrations" not in each.name
]
ADAPTERS = sorted(
    {
        each
        for module in MODULES
        for name, each in vars(module).items()
        if isinstance(each, type) and name.startswith("Postgres") and each.__module__ == module.__name__
    },
    key=lambda each: each.__name__,
)


def answered(adapter: type) -> Iterator[Any]:
    for name, method in vars(adapter).items():
        if callable(method) and not name.startswith("_"):
            yield get_type_hints(method).get("return")


def made_of(answer: Any, seen: set[Any]) -> set[Any]:
    """All types in it, with those of dataclasses' fields."""
    if answer in seen:
        return seen
    seen.add(answer)
    for part in get_args(answer):
        made_of(part, seen)
    if isinstance(answer, type) and is_dataclass(answer):
        hints = get_type_hints(answer)
        for each in fields(answer):
            made_of(hints[each.name], seen)
    return seen


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda each: each.__name__)
def test_no_adapter_answers_an_entity(adapter: type) -> None:
    seen: set[Any] = set()
    for answer in answered(adapter):
        made_of(answer, seen)
    assert [each for each in seen if isinstance(each, type) and issubclass(each, Base)] == []


def test_an_entity_in_what_is_answered_would_be_found() -> None:
    assert PostgresRegistryReader in ADAPTERS
    assert Model in made_of(dict[str, tuple[Model | None, ...]], set())
