"""Calls of the client, as data: each is declared once, and both transports send it.

A call that takes several requests is a generator of steps. It sends nothing itself, so the synchronous and the
asynchronous client carry out the same one.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from hotswap.schemas import fields
from hotswap.schemas.requests import Body
from hotswap.schemas.responses import View

A = TypeVar("A")
V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True)
class Call(Generic[A]):
    """One request, and how its answer is read.

    `repeatable` says whether it may be sent again where the connection broke. Absent: what HTTP calls idempotent may,
    and a POST by an idempotency key, which the transport makes where `headers` have none. So neither false, of what
    must not happen twice and heeds no key, nor true, of what may, gets one.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], A]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool | None = None
    takes_refusals: bool = False
    """True if an answer that is no success is read like any other."""


@dataclass(frozen=True, slots=True)
class CallPause:
    """Wait for so long before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """A function that takes long and calls other servers: it runs in a thread if others would wait for it."""

    run: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Found(Generic[A]):
    """One of many answers, handed out as soon as it is there."""

    value: A


CallStep: TypeAlias = Call[Any] | CallPause | Work
Steps: TypeAlias = Generator[CallStep, Any, A]
"""A step is answered by what it results in, or by the ApiError that it failed with."""
Stream: TypeAlias = Generator[CallStep | Found[A], Any, None]


def ask(call: Call[A]) -> Steps[A]:
    """Ask one call within others."""
    answer: A = yield call
    return answer


def get(kind: type[V], path: str, query: Mapping[str, Any] | None = None) -> Call[V]:
    """Return a call that reads; what is None in the query isn't said."""
    return Call("GET", path, kind_of(kind), query=said(query or {}))


def post(kind: type[V], path: str, body: Body | None = None, *, repeatable: bool | None = None) -> Call[V]:
    """Return a call that changes something."""
    return Call("POST", path, kind_of(kind), body=_json(body), repeatable=repeatable)


def put(kind: type[V], path: str, body: Body) -> Call[V]:
    """Return a call that replaces something."""
    return Call("PUT", path, kind_of(kind), body=_json(body))


def delete(kind: type[V], path: str, body: Body | None = None) -> Call[V]:
    """Return a call that takes something away."""
    return Call("DELETE", path, kind_of(kind), body=_json(body))


def kind_of(kind: type[V]) -> Callable[[httpx.Response], V]:
    """Return what reads an answer of this kind."""
    return lambda answer: kind.model_validate_json(answer.content)


def quoted(name: str) -> str:
    """Return a name as a path holds it, which it can't leave."""
    return quote(name, safe="")


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a query says: times and durations as ISO-8601 writes them, and nothing of what is None."""
    return {name: _spelled(value) for name, value in values.items() if value is not None}


def _spelled(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return fields.spelled(value)
        case _:
            return value


def _json(body: Body | None) -> Any:
    return None if body is None else body.to_json()
