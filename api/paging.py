"""Pages of lists: `limit`, `cursor`, `next`, and the `Link` header of RFC 8288.

A cursor is opaque: it says which list it belongs to and after which row to go on. Anything else in its place is
refused. `offset` is for callers that count: it skips so many rows, after the cursor if there is one.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Request, Response

from api.parameters import Limit, Offset
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.paging import Listing, PageKey, Window
from hotswap.schemas.responses import Page
from hotswap.schemas.responses.base import View

Item = TypeVar("Item", bound=View)

Plain = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$", max_length=255)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
CursorNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

Cursor = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,1000}$", description="the `next` of the page before")]


class Paging:
    """The part of a list that a request asks for, and the answer to it."""

    def __init__(
        self, request: Request, response: Response, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = None
    ) -> None:
        self._request = request
        self._response = response
        self._limit = limit
        self._offset = offset
        self._cursor = cursor

    def window(self, of: str, *key: Any) -> Window:
        """Return the window to read: `of` names the list, `key` the types of its sort key. Raises ValidationFailed."""
        if self._cursor is None:
            return Window(self._limit, self._offset)
        return Window(self._limit, self._offset, read_cursor(self._cursor, of, *key))

    def page(self, of: str, items: Sequence[Item], found: Listing[Any]) -> Page[Item]:
        following = self.link(of, found.next)
        return Page(items=list(items), total=found.total, limit=self._limit, offset=self._offset, next=following)

    def link(self, of: str, last: PageKey | None) -> str | None:
        """Return the cursor of the next page, and set the `Link` header; return None at the end."""
        url = self._request.url.remove_query_params(["offset", "cursor"])
        links = [f'<{url}>; rel="first"']
        following = None
        if last is not None:
            following = write_cursor(of, last)
            links.insert(0, f'<{url.include_query_params(cursor=following)}>; rel="next"')
        self._response.headers["Link"] = ", ".join(links)
        return following


Paged = Annotated[Paging, Depends()]


def write_cursor(of: str, key: PageKey) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((of, *key))).rstrip(b"=").decode()


def read_cursor(cursor: str, of: str, *key: Any) -> PageKey:
    """Return the sort key in a cursor. Raises ValidationFailed if it is no cursor of this list."""
    try:
        decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        whose, *last = msgspec.json.decode(decoded, type=tuple[(str, *key)])  # type: ignore[valid-type]
    except (binascii.Error, ValueError, RecursionError):
        whose, last = None, []
    if whose != of:
        raise ValidationFailed.of("cursor", "is not a cursor of this list; leave it out to begin anew")
    return tuple(last)
