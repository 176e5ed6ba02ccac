"""What every part of the client is made of: a connection, typed answers, and names as paths spell them."""

from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

import httpx

from hotswap.client.transport import Transport
from hotswap.schemas import fields
from hotswap.schemas.responses import View

Answered = TypeVar("Answered", bound=View)


class Calls:
    """One part of what can be asked; all parts share the connection of `HotSwap`."""

    _transport: Transport


def read(kind: type[Answered], answer: httpx.Response) -> Answered:
    return kind.model_validate_json(answer.content)


def quoted(name: str) -> str:
    return quote(name, safe="")


def spelled(length: timedelta | None) -> str | None:
    """As ISO-8601 writes it; None of what isn't said."""
    return None if length is None else fields.spelled(length)
