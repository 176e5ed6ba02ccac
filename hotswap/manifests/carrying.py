"""Makes a plan so, one change after the other, by the public client.

Whatever ends it half-way (a failure, a kill), the same files lead to a plan of what is left.
Nothing is tried again here.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from hotswap.client import HotSwap
from hotswap.manifests.planning import Plan, PlannedAction, PlannedChange
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from hotswap.schemas.responses import RegistrationView


def carry_out(hotswap: HotSwap, plan: Plan) -> Iterator[tuple[PlannedChange, str | None]]:
    """Yield each change when it is done, with the id of a deployment, which goes on by itself.

    Raises:
        ApiError: a change was refused or failed; those before it are done.
        TimeoutError: a registration takes too long.
    """
    for (action, model), together in groupby(plan.changes, key=lambda change: (change.action, change.model)):
        changes = list(together)
        match action:
            case PlannedAction.CHANGE:
                hotswap.models.change(model, _merged(changes))
                yield from ((each, None) for each in changes)
            case PlannedAction.MONITOR:
                hotswap.monitoring.change(model, _merged(changes))
                yield from ((each, None) for each in changes)
            case _:
                for change in changes:
                    yield change, _do(hotswap, change)


def _merged(changes: Sequence[PlannedChange]) -> dict[str, Any]:
    """Merge the changes of one model, which are made in one request."""
    requests = [each.request for each in changes if isinstance(each.request, Mapping)]
    return {name: value for request in requests for name, value in request.items()}


def _do(hotswap: HotSwap, change: PlannedChange) -> str | None:
    match change.action, change.request:
        case PlannedAction.REGISTER, RegisterVersion() as request:
            if isinstance(hotswap.models.register(request), RegistrationView):
                hotswap.versions.await_registration(change.model, change.target)
        case PlannedAction.ALIAS, _ if change.after is None:
            hotswap.models.take_alias(change.model, change.target)
        case PlannedAction.ALIAS, _:
            hotswap.models.give_alias(change.model, change.target, change.after)
        case PlannedAction.DEPLOY, CreateDeployment() as request:
            return hotswap.deployments.start(request, idempotency_key=change.idempotency_key).deployment_id
        case _:
            raise AssertionError("the changes of one model are done together, and the others have a request")
    return None
