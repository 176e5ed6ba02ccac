"""Routes by which callers report outcomes: what their predictions should have been.

An outcome is taken whether or not its request is known: the record of a prediction is on its way for a moment after the
answer, and a caller must not have to wait for it. Saying one again does no harm, so a caller may always try again.
Whose roles all are in teams says nothing of other teams' requests, and replaces nothing that another caller said.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from api.auth import CALLERS
from api.context import Caller, With
from api.parameters import RequestId
from api.routing import GuardedRoute
from hotswap.domain.access import Principal
from hotswap.domain.errors import FieldProblem
from hotswap.persistence.records.outcomes import Reported
from hotswap.schemas.problems import refused
from hotswap.schemas.requests import ReportOutcome, ReportOutcomes
from hotswap.schemas.responses import OutcomesTaken

router = APIRouter(prefix="/api/v1/inference", tags=["inference"], route_class=GuardedRoute)

FIRST_OUTCOME = datetime(2000, 1, 1, tzinfo=UTC)


@router.post("/outcomes", status_code=202)
async def report_outcomes(caller: Caller, parts: With, body: ReportOutcomes) -> OutcomesTaken:
    """Report what up to 1,000 predictions should have been. Of several outcomes of one request the last one counts."""
    _check_times({f"outcomes.{number}.observedAt": each.observed_at for number, each in enumerate(body.outcomes)})
    said = [Reported(each.request_id, each.label, each.observed_at) for each in body.outcomes]
    await parts.outcomes.report(said, by=caller.subject, teams=_only_teams(caller))
    return OutcomesTaken(accepted=len(said))


@router.post("/{request_id}/outcome", status_code=202)
async def report_outcome(caller: Caller, parts: With, request_id: RequestId, body: ReportOutcome) -> OutcomesTaken:
    """Report what one prediction should have been. Another outcome of the same request replaces the one before."""
    _check_times({"observedAt": body.observed_at})
    await parts.outcomes.report(
        [Reported(request_id, body.label, body.observed_at)], by=caller.subject, teams=_only_teams(caller)
    )
    return OutcomesTaken(accepted=1)


def _check_times(times: Mapping[str, datetime | None]) -> None:
    """Check the times by the server's clock, since callers' clocks may be wrong.

    Raises ValidationFailed naming the fields.
    """
    latest = datetime.now(UTC) + timedelta(days=1)
    wrong = [
        FieldProblem(field, "is no time at which an outcome can have been seen")
        for field, at in times.items()
        if at is not None and not FIRST_OUTCOME <= at <= latest
    ]
    if wrong:
        raise refused(wrong)


def _only_teams(caller: Principal) -> frozenset[str] | None:
    """Return the only teams for which the caller may report outcomes; None if for all."""
    held = [grant.team for grant in caller.grants if grant.role in CALLERS]
    return None if None in held else frozenset(team for team in held if team is not None)
