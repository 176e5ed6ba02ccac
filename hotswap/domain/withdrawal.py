"""A candidate that a person takes out at a proxy itself, while the control loop can't be reached.

It holds for the candidate's weight as the proxy had it. As soon as a plan changes that route, whoever changed it knows
better, and the withdrawal is over.
"""

from collections.abc import Iterable
from dataclasses import replace

from hotswap.domain.errors import Conflict, ModelNotFound
from hotswap.domain.traffic import TrafficPlan, Withdrawal, route_key
from hotswap.domain.vocabulary import Environment


def withdraw(plan: TrafficPlan, environment: Environment, model: str, *, by: str, reason: str, at: float) -> Withdrawal:
    """Return the withdrawal of the candidate that has weight in this plan.

    Raises ModelNotFound, and Conflict where there is no such candidate or nothing that could answer in its place.
    """
    route = next((each for each in plan.routes if each.key == route_key(environment, model)), None)
    if route is None:
        raise ModelNotFound(f"this proxy has no route for {model} in {environment}")
    if route.candidate is None or route.candidate_weight == 0:
        raise Conflict(f"no candidate of {model} has traffic in {environment}, so there is nothing to take out")
    if route.stable is None:
        raise Conflict(f"{model} has no other version in {environment} that could answer in the candidate's place")
    candidate = route.candidate
    return Withdrawal(environment, model, candidate.deployment_id, candidate.version, route.fence, by, reason, at)


def still_held(withdrawals: Iterable[Withdrawal], plan: TrafficPlan) -> tuple[Withdrawal, ...]:
    """Return the withdrawals that the plan has not overtaken."""
    return tuple(each for each in withdrawals if any(each.holds_for(route) for route in plan.routes))


def without(plan: TrafficPlan, withdrawals: Iterable[Withdrawal]) -> TrafficPlan:
    """Return the plan with no weight for the candidates that are taken out."""
    taken_out = {(each.key, each.fence) for each in withdrawals}
    routes = (
        replace(route, candidate_weight=0) if (route.key, route.fence) in taken_out else route for route in plan.routes
    )
    return replace(plan, routes=tuple(routes))
