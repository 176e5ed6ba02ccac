"""Proxies: which there are, how far each is with the traffic plan, and the removal of one that is gone."""

from fastapi import APIRouter

from api.context import Engineer, Parts, Reader, With
from api.paging import Paged, Plain
from api.parameters import ProxyName
from api.routing import GuardedRoute
from hotswap.domain.errors import Conflict, NotFound, Unavailable
from hotswap.domain.proxies import ProxyState, RegisteredProxy, newest
from hotswap.domain.traffic import TrafficPlan
from hotswap.persistence.platform.paging import part
from hotswap.schemas.requests import Say
from hotswap.schemas.responses import Page, ProxyView

router = APIRouter(prefix="/api/v1/proxies", tags=["proxies"], route_class=GuardedRoute)


@router.get("")
async def list_proxies(_: Reader, parts: With, paging: Paged) -> Page[ProxyView]:
    """Return the registered proxies, in order of their names.

    While Redis is away, these are the proxies whose agents have reported to the API since.
    """
    window = paging.window("proxies", Plain)
    try:
        over_redis = await parts.bus.proxies()
    except Unavailable:
        over_redis = []
    plan = await parts.plans.current()
    proxies = newest(await parts.proxies.all(), over_redis)
    found = part(proxies, lambda each: (each.name,), window, falling=False)
    return paging.page("proxies", [_view(each, plan, parts) for each in found.items], found)


@router.delete("/{proxy}")
async def remove_proxy(caller: Engineer, parts: With, proxy: ProxyName, body: Say | None = None) -> ProxyView:
    """Remove a lost proxy for good, so that no deployment waits for it any more.

    One that still reports can't be removed: stop its agent and its Envoy first.
    """
    found = {each.name: each for each in newest(await parts.proxies.all(), await parts.bus.proxies())}.get(proxy)
    if found is None:
        raise NotFound(f"no proxy {proxy} is registered; `hotswap proxies list` shows those that are")
    view = _view(found, await parts.plans.current(), parts)
    if view.state is ProxyState.LIVE:
        raise Conflict(
            f"{proxy} reported {view.silent_seconds:g} s ago, and would register again at once: stop its agent and its "
            "Envoy first"
        )
    await parts.bus.remove_proxy(proxy, incarnation=found.report.incarnation)
    await parts.proxies.remove(found, by=caller.subject, reason=body.reason if body is not None else None)
    return view


def _view(proxy: RegisteredProxy, plan: TrafficPlan, parts: Parts) -> ProxyView:
    report = proxy.report
    return ProxyView(
        name=proxy.name,
        state=proxy.state(parts.settings.proxies.lost_after),
        silent_seconds=round(proxy.silent_for, 1),
        environments=sorted(report.environments),
        generation=report.generation,
        lineage=report.lineage,
        is_current=report.confirmed >= plan.number and not report.held,
        problem=report.problem,
        held=report.held,
        replicas=report.replicas,
    )
