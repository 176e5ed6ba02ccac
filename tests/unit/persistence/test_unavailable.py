"""While PostgreSQL is away every method of every adapter raises Unavailable, whose text holds no secret."""

import inspect
import types
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, SecretStr

from hotswap.domain.errors import Unavailable
from hotswap.persistence.migrations import migrate
from hotswap.persistence.platform.database import Sessions, create_engine
from hotswap.persistence.platform.queue_notifications import PostgresQueueNotifications
from hotswap.persistence.records.async_inference import Taken
from hotswap.persistence.registry.curation import PostgresCurations, PostgresCurationTransaction
from hotswap.persistence.registry.registrations import PostgresRegistrations, PostgresRegistrationTransaction
from hotswap.settings import PostgresSettings, RetentionSettings
from tests.unit.persistence.test_entities import ADAPTERS

pytestmark = pytest.mark.slow  # it calls more than a hundred methods

NOBODY_LISTENS = "postgresql+psycopg://role:the-password@127.0.0.1:1/none"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

VALUES: dict[Any, Any] = {
    str: "x",
    int: 1,
    float: 1.0,
    bool: True,
    Any: "x",
    datetime: NOW,
    timedelta: timedelta(hours=1),
    RetentionSettings: RetentionSettings(),
    Taken: Taken("id", "m", True, {}, '{"instances": []}', attempt=2, accepted_at=NOW, seconds_left=1.0),
}

TRANSACTIONS: dict[type, Callable[[Sessions], AbstractAsyncContextManager[object]]] = {
    PostgresCurationTransaction: lambda sessions: PostgresCurations(sessions).begin(),
    PostgresRegistrationTransaction: lambda sessions: PostgresRegistrations(sessions).begin(),
}
"""What begins each adapter that is a transaction."""

LEFT_OUT = {
    PostgresQueueNotifications,  # it connects again by itself, until its block ends
    PostgresCurations,  # each begins one of TRANSACTIONS, which connects with its first statement
    PostgresRegistrations,
}
METHODS = [
    (adapter, name)
    for adapter in ADAPTERS
    if adapter not in LEFT_OUT
    for name, _ in inspect.getmembers(adapter, callable)
    if not name.startswith("_")
]


def made(hint: Any) -> Any:
    """Some value of a type: enough for a statement to be written with it."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if hint in VALUES:
        return VALUES[hint]
    if origin in {Union, types.UnionType}:
        return made(arguments[0])
    if origin is Callable:
        return lambda *_: None
    if issubclass(origin, Mapping):
        return {made(arguments[0]): made(arguments[1])}
    if issubclass(origin, Collection) and not issubclass(origin, str):
        item = made(arguments[0])
        return frozenset({item}) if origin is frozenset else [item]
    if issubclass(origin, Enum):
        return next(iter(origin))
    if issubclass(origin, BaseModel):
        return origin()
    build: Callable[..., object] = origin
    assert is_dataclass(origin), f"{hint} needs a value in VALUES"
    hints = get_type_hints(origin)
    filled = [each for each in fields(origin) if each.default in {MISSING, None} and each.default_factory is MISSING]
    return build(**{each.name: made(hints[each.name]) for each in filled})


def arguments_of(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    needed = [each for each in inspect.signature(function).parameters.values() if each.default is each.empty]
    return {each.name: made(hints[each.name]) for each in needed if each.name not in {"self", "sessions"}}


@pytest.fixture(scope="module")
async def sessions() -> AsyncIterator[Sessions]:
    engine = create_engine(PostgresSettings(url=SecretStr(NOBODY_LISTENS)))
    yield Sessions(engine)
    await engine.dispose()


async def called(adapter: type[Any], name: str, sessions: Sessions) -> None:
    """Call the method; what answers a context manager works only inside its block."""
    if adapter in TRANSACTIONS:
        async with TRANSACTIONS[adapter](sessions) as transaction:
            method = getattr(transaction, name)
            await method(**arguments_of(method))
        return
    method = getattr(adapter(sessions, **arguments_of(adapter.__init__)), name)
    answer = method(**arguments_of(method))
    if isinstance(answer, AbstractAsyncContextManager):
        async with answer:
            pass
    else:
        await answer


@pytest.mark.parametrize(("adapter", "name"), METHODS, ids=lambda each: getattr(each, "__name__", each))
async def test_every_method_raises_unavailable(sessions: Sessions, adapter: type, name: str) -> None:
    with pytest.raises(Unavailable) as raised:
        await called(adapter, name, sessions)
    assert str(raised.value).startswith("the database doesn't answer;")
    assert raised.value.__cause__ is None, "Temporal would write it into its history"
    assert raised.value.__suppress_context__, "Temporal would write this one too"


def test_the_migration_raises_it_with_the_reason_and_without_the_password() -> None:
    with pytest.raises(Unavailable, match=r"^PostgreSQL can't be used: .*127\.0\.0\.1") as raised:
        migrate(NOBODY_LISTENS)
    assert "the-password" not in str(raised.value)
