"""Reconciliation: it lists what differs between rows, workflows, Ray Serve and proxies, and has it repaired."""

from dataclasses import asdict

from fastapi import APIRouter

from api.context import Admin, Reader, With
from api.routing import GuardedRoute
from hotswap.deployments.reconciliation import Reconciliation
from hotswap.schemas.requests import Say
from hotswap.schemas.responses import FindingView, ReconciliationView
from hotswap.telemetry.logs import reason

router = APIRouter(prefix="/api/v1/reconciliation", tags=["reconciliation"], route_class=GuardedRoute)


@router.get("")
async def find_differences(_: Reader, parts: With) -> ReconciliationView:
    """Compare what should be with what is, and change nothing. If anything differs, the answer takes two seconds."""
    return _view(await parts.reconciler.find())


@router.post("")
async def repair_differences(caller: Admin, parts: With, body: Say | None = None) -> ReconciliationView:
    """Compare, and repair what is safe to repair. A model with an open deployment is left alone."""
    told = body.reason if body is not None and body.reason is not None else reason.get()
    return _view(await parts.reconciler.repair(by=caller.subject, reason=told))


def _view(found: Reconciliation) -> ReconciliationView:
    return ReconciliationView(
        findings=[FindingView.model_validate(asdict(each)) for each in found.findings],
        started=list(found.started or ()),
        confirmed=found.started is not None,
    )
