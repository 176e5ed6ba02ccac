"""The part of ASGI that a replica speaks: whole bodies, clients that leave, and the lifespan."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_Found = TypeVar("_Found")


class ClientGone(Exception):
    """The client left before it could be answered: nobody waits for an answer, and it is nobody's failure to record."""


async def whole_body(receive: Receive, *, most: int) -> bytes | None:
    """Return the whole body, None when it has more than `most` bytes. Raises ClientGone when it ends early."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def unless_gone(found: "asyncio.Future[_Found]", receive: Receive) -> _Found:
    """Return what is awaited. Raises ClientGone, and cancels it, when its client leaves before it is there."""
    leaving = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((found, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not found.done():
            raise ClientGone
        return await found
    finally:
        leaving.cancel()
        found.cancel()


async def _until_gone(receive: Receive) -> None:
    """Ask on where the body has ended: the next message that comes is that its client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def lifespan(receive: Receive, send: Send) -> None:
    """Say that the application is ready, and later that it has ended: nothing is to be done for either."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
