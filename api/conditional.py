"""ETags: what was read once need not be sent again, and what changed meanwhile is not overwritten.

Each GET's answer carries a strong ETag, the hash of its body, and `If-None-Match` is answered 304. A PUT, PATCH or
DELETE of an address that can be read takes `If-Match`: it is carried out only on what the caller has seen, else 412.
Changes of one model, or of one of anything else, are carried out one after the other, in all processes, so that nothing
gets between that look and the change; those of another model go on meanwhile. A change without `If-Match` overwrites
what is there, as always.
"""

import functools
import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts

from hotswap.domain.errors import ChangedMeanwhile

if TYPE_CHECKING:
    from api.context import Parts
    from api.routing import GuardedRoute

NextHandler = Callable[[Request], Awaitable[Response]]

_TAG = re.compile('(?:W/)?"[!#-~]*"')
_KEEP_BUT_ASK = "private, no-cache"

_check: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("check", default=None)
"""The check that the present request's handler has to make first."""


def read(request: Request, answer: Response) -> Response:
    """Return the answer with its ETag, or 304 without a body if the caller already has it."""
    body = getattr(answer, "body", None)
    if answer.status_code != HTTPStatus.OK or not isinstance(body, bytes):
        return answer
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": answer.headers.get("cache-control", _KEEP_BUT_ASK)}
    if _names(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    answer.headers.update(headers)
    return answer


async def change(route: "GuardedRoute", request: Request, handler: NextHandler) -> Response:
    """Return the handler's answer, with the new ETag if a GET would answer the same. Raises ChangedMeanwhile."""
    reader = readers(request.app).get(route.path_format)
    if reader is None:
        return await handler(request)
    parts: Parts = request.app.state.parts
    wanted = request.headers.get("if-match")

    async def check() -> None:
        now = (await reader.read_now(request)).headers.get("etag", "")
        if wanted is not None and not _names(wanted, now, strong=True):
            raise ChangedMeanwhile(
                f"{request.url.path} has changed since you read the ETag in If-Match; read it again, and decide anew"
            )

    async with parts.changes.alone(await _changed(route, request, parts)):
        _check.set(check if wanted is not None else None)
        answer = await handler(request)
    if route.response_model == reader.response_model:
        read(Request({**request.scope, "headers": []}), answer)
    return answer


def checked(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler with the precondition's check, which runs once the request is found valid (RFC 9110, 13.2)."""
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint

    @functools.wraps(endpoint)
    async def handler(*args: Any, **given: Any) -> Any:
        if (check := _check.get()) is not None:
            _check.set(None)
            await check()
        return await endpoint(*args, **given)

    return handler


def readers(app: FastAPI) -> Mapping[str, "GuardedRoute"]:
    """Return the routes that answer GET, by path, and remember them."""
    known: dict[str, GuardedRoute] | None = getattr(app.state, "readers", None)
    if known is None:
        routes = [context.original_route for context in iter_route_contexts(app.routes)]
        known = {
            each.path_format: each  # type: ignore[misc]
            for each in routes
            if isinstance(each, APIRoute) and "GET" in (each.methods or ())
        }
        app.state.readers = known
    return known


async def _changed(route: "GuardedRoute", request: Request, parts: "Parts") -> str:
    """Name what is changed: the address up to its first parameter, so that it covers all that is below.

    A model has two addresses, by its name and by its id.
    """
    collection, _, rest = route.path_format.partition("{")
    parameter = rest.partition("}")[0]
    if not parameter:
        return route.path_format
    member = str(request.path_params[parameter])
    return collection + (await parts.changes.name_of(member) if parameter == "model" else member)


def _names(header: str, tag: str, *, strong: bool = False) -> bool:
    """Return whether the header lists this tag; a weak tag counts unless `strong` is set."""
    if header.strip() == "*":
        return True
    named = _TAG.findall(header)
    return tag in named or (not strong and f"W/{tag}" in named)
