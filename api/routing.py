"""The route class of the API: it does the same before and after each handler, also of a new route.

In this order: its rule admits the caller, before anything from the caller is read (`api.auth`); an unknown query
parameter is refused, since a misspelt filter would return everything; a repeated `Idempotency-Key` gets the answer of
the first time (`api.idempotency`); and an answer that the caller already has is recognized by its ETag
(`api.conditional`).
"""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from api import conditional, idempotency
from api.auth import rule_of
from hotswap.domain.errors import FieldProblem, ValidationFailed
from hotswap.process.way_back import on_the_way_back

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that is not served before its rule has admitted the caller."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, conditional.checked(endpoint), **options)

    def get_route_handler(self) -> Handler:
        rule = rule_of(self)
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = await rule.admit(request)
            self._check_query(request)
            if request.state.caller is None:
                return await handler(request)
            match request.method:
                case "GET":
                    return conditional.read(request, await handler(request))
                case "POST" if idempotency.is_kept(self):
                    return await idempotency.once(request, handler)
                case "PUT" | "PATCH" | "DELETE":
                    return await conditional.change(self, request, handler)
                case _:
                    return await handler(request)

        return guarded

    async def read_now(self, request: Request) -> Response:
        """Return what a GET of the same address answers to the same caller, who has been admitted already."""
        reading = Request({**request.scope, "method": "GET", "query_string": b"", "headers": []}, request.receive)
        return conditional.read(reading, await super().get_route_handler()(reading))

    def _check_query(self, request: Request) -> None:
        unknown = sorted(set(request.query_params) - self._query_names)
        if unknown:
            raise ValidationFailed(
                f"{', '.join(unknown)}: not a query parameter of {request.method} {self.path_format}",
                *(FieldProblem(name, "is not a known query parameter") for name in unknown),
            )

    @cached_property
    def _query_names(self) -> frozenset[str]:
        fields = get_flat_params(self.dependant)
        return frozenset(field.alias for field in fields if isinstance(field.field_info, params.Query))


class WayBackRoute(GuardedRoute):
    """A route that takes traffic back. From its rule on it uses connections that no other route can use up."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            with on_the_way_back():
                return await handler(request)

        return handled
