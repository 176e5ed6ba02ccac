"""`Idempotency-Key`: the same caller's same request under the same key is acted on once, and answered alike for 24 h.

Each POST takes the header, but for those that are open to anybody and those whose answer holds a secret, which must not
be stored. What is kept is that something was done: a refusal changed nothing, so it leaves the key free and the request
is judged anew, and after an error nobody knows how far the first attempt came, so the same request, and no other, goes
on from there. Handlers that begin something lasting note `KeyName` with it, to find it again then.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.errors import status_of
from hotswap.domain.errors import FieldProblem, HotSwapError, ValidationFailed
from hotswap.domain.headers import ENTITY_HEADER, ENVIRONMENT_HEADER, TESTER_HEADER, VERSION_HEADER
from hotswap.persistence.platform.idempotency import KeyClaim, PostgresIdempotencyKeys, StoredAnswer
from hotswap.schemas.requests import IDEMPOTENCY_KEY

HEADER = "Idempotency-Key"
PATTERN = "^[!-~]{1,255}$"
DESCRIPTION = (
    "the caller's own word for this request: sent again with it within 24 h, it is answered and not done again"
)
REPLAYED = "Idempotent-Replayed"
DECIDING_HEADERS = (ENTITY_HEADER, ENVIRONMENT_HEADER, TESTER_HEADER, VERSION_HEADER)
"""Headers that decide who answers a request, and so make two requests of otherwise equal ones."""
KEPT_HEADERS = ("content-type", "location", "etag")

logger = logging.getLogger(__name__)


class _NotKept:
    def __call__(self) -> None:
        """Hand nothing to the handler."""


def not_kept() -> Any:
    """Mark a route whose answers are not kept, because they hold a secret or nothing changes; for `dependencies`."""
    return Depends(_NotKept())


def is_kept(route: APIRoute) -> bool:
    """Return whether the route heeds the header, if it is a POST."""
    return not any(isinstance(each.call, _NotKept) for each in route.dependant.dependencies)


def _key_name(request: Request) -> str | None:
    name: str | None = getattr(request.state, "idempotency_name", None)
    return name


KeyName = Annotated[str | None, Depends(_key_name)]
"""The same for each attempt of one request under one key; None without a key."""


def _leave_open(request: Request) -> Callable[[], None]:
    def leave_open() -> None:
        request.state.idempotency_left_open = True

    return leave_open


LeaveOpen = Annotated[Callable[[], None], Depends(_leave_open)]
"""A handler calls it where its answer is a promise that is not in order yet: the same request again shall mend it."""


async def once(request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
    """Return the handler's answer, or the one that it gave before.

    Raises KeyReused, KeyInUse, and ValidationFailed for a malformed key.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await handler(request)
    if IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise ValidationFailed(
            f"{HEADER}: must be 1 to 255 visible ASCII characters", FieldProblem(HEADER, "is not such a key")
        )
    keys: PostgresIdempotencyKeys = request.app.state.parts.idempotency
    claim = await keys.claim(request.state.caller.subject, key, await _fingerprint(request))
    if isinstance(claim, StoredAnswer):
        return Response(claim.body, claim.status, {**claim.headers, REPLAYED: "true"})
    request.state.idempotency_name = claim.name
    try:
        answer = await handler(request)
    except BaseException as error:
        await _settle(keys.forget if _is_refusal(error) else keys.let_go, claim)
        raise
    is_open = getattr(request.state, "idempotency_left_open", False)
    await _keep(keys, claim, answer, is_open=is_open)
    return answer


async def _fingerprint(request: Request) -> str:
    said = [f"{request.method} {request.url.path}?{request.url.query}"]
    said += (f"{name}: {request.headers[name]}" for name in DECIDING_HEADERS if name in request.headers)
    return hashlib.sha256("\n".join([*said, ""]).encode() + await request.body()).hexdigest()


def _is_refusal(error: BaseException) -> bool:
    match error:
        case HotSwapError():
            return status_of(error) < HTTPStatus.INTERNAL_SERVER_ERROR
        case HTTPException():
            return error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        case _:
            return isinstance(error, RequestValidationError)


async def _keep(keys: PostgresIdempotencyKeys, claim: KeyClaim, answer: Response, *, is_open: bool) -> None:
    body = getattr(answer, "body", None)
    if is_open or answer.status_code >= HTTPStatus.BAD_REQUEST or not isinstance(body, bytes):
        await _settle(keys.let_go, claim)
        return
    headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    await _settle(keys.keep, claim, StoredAnswer(answer.status_code, headers, body.decode()))


async def _settle(how: Callable[..., Awaitable[None]], claim: KeyClaim, *told: StoredAnswer) -> None:
    """Settle the claim, or log that this failed: the answer stays valid, and the claim expires by itself."""
    try:
        await how(claim, *told)
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer stands
        logger.warning("an idempotency key keeps its claim", extra={"key": claim.name, "error": repr(error)[:500]})
