"""The OpenAPI document: what FastAPI reads from the routes, and what `api.routing` adds to each of them.

Every operation lists the statuses that it can really answer with, each with the one error format and an example, and
the headers that any route of its kind takes and gives. A new route is described so without a word.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.alias_generators import to_camel

from api import conditional, idempotency
from api.auth import Anonymous, Rule, rule_of
from api.errors import code_of
from hotswap.domain.headers import REASON_HEADER

S = HTTPStatus

TAGS = {
    "authentication": "Exchange a user's password, or a program's service token, for a bearer token.",
    "tokens": "Service tokens, with which programs authenticate.",
    "models": "The registry: models, their versions, aliases, cards and metrics.",
    "artifacts": "Upload artifacts to S3, part by part, and remove those that no version refers to.",
    "deployments": "Put a version into production, watch and steer its rollout, and roll it back.",
    "freezes": "Times in which no rollout starts in an environment.",
    "proxies": "The Envoys that take requests, and how far each is with the traffic plan.",
    "inference": "Inference that is answered later, and outcomes. Replicas answer all other inference themselves.",
    "monitoring": "Monitoring of active versions, and its alerts.",
    "audit": "Who did what, when and why.",
    "reconciliation": "Differences between what should be and what is, and their repair.",
    "health": "Liveness of the API, and readiness of the servers that it needs.",
}

ERRORS = {
    S.BAD_REQUEST: "the request is not valid; `details` name the fields",
    S.UNAUTHORIZED: "no token, or an invalid one",
    S.FORBIDDEN: "the caller's roles don't allow it",
    S.NOT_FOUND: "it doesn't exist",
    S.CONFLICT: "it is refused now, for the reason in the message; or another request had this `Idempotency-Key`",
    S.PRECONDITION_FAILED: "it has changed since the caller read the ETag in `If-Match`",
    S.REQUEST_ENTITY_TOO_LARGE: "the body is larger than 1 MiB",
    S.TOO_MANY_REQUESTS: "too many requests; `Retry-After` says when to try again",
    S.INTERNAL_SERVER_ERROR: "a bug; the log has its details under `traceId`",
    S.SERVICE_UNAVAILABLE: "a server behind the API doesn't answer; `Retry-After` says when to try again",
}

_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "changes whenever the answer does"}}
_LINK = {
    "Link": {"schema": {"type": "string"}, "description": "the addresses of the next page and of the first (RFC 8288)"}
}


def operation_id(route: APIRoute) -> str:
    """Return the handler's name as generated clients spell it, such as `listModels`."""
    return to_camel(route.name)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, which is made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=[{"name": name, "description": said} for name, said in TAGS.items()],
        )
        for path, method, route in described_routes(app):
            _complete(document["paths"][path][method.lower()], route, method, conditional.readers(app).keys())
        app.openapi_schema = document
    return app.openapi_schema


def described_routes(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    """Yield the path, method and route of each operation in the document."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in sorted(route.methods or ()):
                yield route.path_format, method, route


def _complete(operation: dict[str, Any], route: APIRoute, method: str, readable: Any) -> None:
    operation["summary"] = operation["summary"].capitalize()
    parameters = operation.setdefault("parameters", [])
    responses = operation["responses"]
    is_ruled = isinstance(rule_of(route), Rule)
    is_keyed = is_ruled and method == "POST" and idempotency.is_kept(route)
    is_conditional = is_ruled and method in {"PUT", "PATCH", "DELETE"} and route.path_format in readable
    if is_keyed:
        parameters.append(_header(idempotency.HEADER, idempotency.DESCRIPTION, pattern=idempotency.PATTERN))
    if is_conditional:
        parameters.append(_header("If-Match", "the ETag of what is to be changed; 412 when it is another by now"))
    if is_ruled and method != "GET":
        parameters.append(_header(REASON_HEADER, "why, for the audit log, where the body doesn't say"))
    if is_ruled and method == "GET" and "200" in responses:
        parameters.append(_header("If-None-Match", "the ETag of what the caller has already"))
        responses["304"] = {"description": "it is what If-None-Match names", "headers": _ETAG}
        responses["200"].setdefault("headers", {}).update(_ETAG)
        if any(parameter["name"] == "cursor" for parameter in parameters):
            responses["200"]["headers"].update(_LINK)
    if not parameters:
        del operation["parameters"]
    responses.pop("default", None)
    statuses = _statuses(operation, method, is_ruled=is_ruled, is_conditional=is_conditional)
    statuses |= {HTTPStatus(int(each)) for each in responses if each >= "400"}
    if not isinstance(rule_of(route), Anonymous):
        statuses |= {S.UNAUTHORIZED, S.SERVICE_UNAVAILABLE}
    for status in sorted(statuses):
        responses[str(status.value)] = {**_error(status), **responses.get(str(status.value), {})}


def _statuses(operation: dict[str, Any], method: str, *, is_ruled: bool, is_conditional: bool) -> set[HTTPStatus]:
    declared = {S(int(status)) for status in operation["responses"] if status.isdigit()}
    found = {S.BAD_REQUEST, S.INTERNAL_SERVER_ERROR, *(status for status in declared if status >= S.BAD_REQUEST)}
    if is_ruled:
        found.add(S.FORBIDDEN)
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        found.add(S.NOT_FOUND)
    if is_ruled and method != "GET":
        found.add(S.CONFLICT)
    if is_conditional:
        found.add(S.PRECONDITION_FAILED)
    if "requestBody" in operation:
        found.add(S.REQUEST_ENTITY_TOO_LARGE)
    return found


def _header(name: str, description: str, **limits: Any) -> dict[str, Any]:
    example = {"If-Match": '"0123456789abcdef"', "If-None-Match": '"0123456789abcdef"'}.get(name, "build-4711")
    schema = {"type": "string", **limits}
    said = {"description": description, "example": example}
    return {"name": name, "in": "header", "required": False, "schema": schema, **said}


def _error(status: HTTPStatus) -> dict[str, Any]:
    example = {
        "code": code_of(status),
        "message": ERRORS[status],
        "details": [{"field": "version", "message": "is required"}] if status == S.BAD_REQUEST else [],
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "timestamp": "2026-12-27T06:00:00.000+00:00",
    }
    content = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "example": {"error": example}}
    return {"description": ERRORS[status], "content": {"application/json": content}}
