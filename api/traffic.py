"""Routes for the traffic agents while Redis is away: the plan, the reports of what a proxy has confirmed, and its end.

Envoy answers 404 for `/internal`; only the role TrafficAgent comes this far.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.context import TrafficAgentPrincipal, With
from api.parameters import ProxyName
from api.routing import GuardedRoute
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import ProxyReport

IncarnationId = Annotated[str, Query(pattern=r"^[0-9a-f]{32}$")]

router = APIRouter(prefix="/internal/traffic", include_in_schema=False, route_class=GuardedRoute)

_report = msgspec.json.Decoder(ProxyReport)


@router.get("/plan")
async def get_plan(_: TrafficAgentPrincipal, parts: With) -> Response:
    """Return the traffic plan that PostgreSQL has, as JSON of `TrafficPlan`."""
    return Response(msgspec.json.encode(await parts.plans.current()), media_type="application/json")


@router.post("/report", status_code=204)
async def report(_: TrafficAgentPrincipal, parts: With, request: Request) -> None:
    """Store a proxy's report, as JSON of `ProxyReport`; another proxy of that name is refused."""
    try:
        said = _report.decode(await request.body())
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationFailed.of("body", f"is not a proxy's report: {error}") from None
    await parts.proxies.report(said)


@router.delete("/proxies/{proxy}", status_code=204)
async def sign_off(_: TrafficAgentPrincipal, parts: With, proxy: ProxyName, incarnation: IncarnationId) -> None:
    """Forget a proxy that has shut down."""
    await parts.proxies.forget(proxy, incarnation=incarnation)
