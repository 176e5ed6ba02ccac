"""Every error that leaves the API, in one format: `{"error": {code, message, details, traceId, timestamp}}`.

The one table from domain errors to HTTP status is here, and nowhere else is a status chosen for a domain error. What
goes wrong inside (a bug, a database that is away) is logged with its trace id and answered without a word of it: no
exception text, SQL, address or stack reaches a caller. FastAPI's own errors (unknown path, wrong method, a body that
doesn't fit) are told the same way, each problem with the field's name as it stands in the JSON.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from hotswap.domain import errors as domain
from hotswap.domain.errors import FieldProblem, HotSwapError, ValidationFailed, nearest
from hotswap.schemas.problems import refusal

logger = logging.getLogger(__name__)

STATUS: dict[type[HotSwapError], HTTPStatus] = {
    domain.HotSwapError: HTTPStatus.INTERNAL_SERVER_ERROR,
    domain.ValidationFailed: HTTPStatus.BAD_REQUEST,
    domain.NotFound: HTTPStatus.NOT_FOUND,
    domain.Conflict: HTTPStatus.CONFLICT,
    domain.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    domain.ChangedMeanwhile: HTTPStatus.PRECONDITION_FAILED,
    domain.Unauthorized: HTTPStatus.UNAUTHORIZED,
    domain.Forbidden: HTTPStatus.FORBIDDEN,
    domain.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    domain.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Each entry holds for the classes below it too, unless one of them has its own: read it by `status_of`."""

HEADERS: dict[type[HotSwapError], dict[str, str]] = {
    domain.Unauthorized: {"WWW-Authenticate": 'Bearer realm="hotswap"'},
    domain.KeyInUse: {"Retry-After": "1"},
    domain.Unavailable: {"Retry-After": "5"},
}

_CODE_OF_STATUS = {
    HTTPStatus.BAD_REQUEST: ValidationFailed.code,
    HTTPStatus.UNAUTHORIZED: domain.Unauthorized.code,
    HTTPStatus.NOT_FOUND: domain.NotFound.code,
    HTTPStatus.METHOD_NOT_ALLOWED: domain.MethodNotAllowed.code,
    HTTPStatus.PRECONDITION_FAILED: domain.ChangedMeanwhile.code,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ValidationFailed.code,
    HTTPStatus.TOO_MANY_REQUESTS: domain.RateLimited.code,
    HTTPStatus.INTERNAL_SERVER_ERROR: HotSwapError.code,
}


def answer(
    status: int,
    *,
    code: str,
    message: str,
    trace_id: str,
    details: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return one error as the response that every caller gets."""
    body: dict[str, Any] = {
        "code": code,
        "message": message,
        "details": [{"field": problem.field, "message": problem.message} for problem in details],
        "traceId": trace_id,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return JSONResponse({"error": body}, status_code=status, headers=dict(headers or {}))


def status_of(error: HotSwapError) -> HTTPStatus:
    """Return the status that this error is answered with."""
    return nearest(STATUS, error) or HTTPStatus.INTERNAL_SERVER_ERROR


def answer_domain(error: HotSwapError, *, trace_id: str) -> JSONResponse:
    return answer(
        status_of(error),
        code=error.code,
        message=error.message,
        details=error.details,
        trace_id=trace_id,
        headers=_headers(error),
    )


def code_of(status: HTTPStatus) -> str:
    """Return the code of an error of this status that has no class of its own."""
    return _CODE_OF_STATUS.get(status, status.name)


def methods_of(app: FastAPI, path: str) -> list[str]:
    """Return all methods that the path has; each is on a route of its own."""
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    here = [each for each in routes if isinstance(each, APIRoute) and each.path_regex.match(path)]
    return sorted({method for each in here for method in each.methods or ()})


def _headers(error: HotSwapError) -> dict[str, str] | None:
    if isinstance(error, domain.RateLimited):
        return {"Retry-After": str(error.retry_after)}
    return nearest(HEADERS, error)


def answer_internal(*, trace_id: str) -> JSONResponse:
    """Return the answer to a bug, which tells nothing but where to find its details."""
    message = f"something went wrong inside HotSwap; its log has the details under trace id {trace_id}"
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, code=HotSwapError.code, message=message, trace_id=trace_id)


def invalid(error: ValidationError | RequestValidationError, *, within: str = "") -> ValidationFailed:
    """Return what is answered to what pydantic refused. `within` is the field that holds what was validated."""
    return refusal(error.errors(), within=within)


def install(app: FastAPI) -> None:
    app.add_exception_handler(HotSwapError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


def _on_domain_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HotSwapError)
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("answered %s", error.code, exc_info=error)
    return answer_domain(error, trace_id=request.state.trace_id)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return answer_domain(invalid(error), trace_id=request.state.trace_id)


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}; /swagger lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not something that {request.url.path} does",
        HTTPStatus.BAD_REQUEST: "the body can't be read as JSON",
    }.get(status, str(error.detail))
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(methods_of(request.app, request.url.path))
    return answer(status, code=code_of(status), message=message, trace_id=request.state.trace_id, headers=headers)
