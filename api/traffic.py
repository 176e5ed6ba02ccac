"""Routes for the traffic agents while Redis is away: they fetch the plan, and report what a proxy has confirmed.

Envoy answers 404 for `/internal`; only the role TrafficAgent comes this far.
"""

import msgspec
from fastapi import APIRouter, Request, Response

from api.context import TrafficAgentPrincipal, With
from api.routing import GuardedRoute
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import ProxyReport

router = APIRouter(prefix="/internal/traffic", include_in_schema=False, route_class=GuardedRoute)

_report = msgspec.json.Decoder(ProxyReport)


@router.get("/plan")
async def get_plan(_: TrafficAgentPrincipal, parts: With) -> Response:
    """Return the traffic plan that PostgreSQL has, as JSON of `TrafficPlan`."""
    return Response(msgspec.json.encode(await parts.plans.current()), media_type="application/json")


@router.post("/report", status_code=204)
async def report(_: TrafficAgentPrincipal, parts: With, request: Request) -> None:
    try:
        said = _report.decode(await request.body())
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationFailed.of("body", f"is not a proxy's report: {error}") from None
    await parts.plans.store_proxy_report(said)
