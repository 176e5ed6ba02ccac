"""Makes a plan so, one change after the other, by the public client.

Whatever ends it half-way (a failure, a kill), the same files lead to a plan of what is left.
Nothing is tried again here.
"""

from collections.abc import Iterator
from itertools import groupby

from hotswap.client import HotSwap
from hotswap.manifests.planning import Plan, PlannedAction, PlannedChange
from hotswap.schemas.responses import RegistrationView


def carry_out(hotswap: HotSwap, plan: Plan) -> Iterator[tuple[PlannedChange, str | None]]:
    """Each change when it is done; of a deployment its id, which goes on by itself.

    Raises:
        ApiError: a change was refused or failed; those before it are done.
        TimeoutError: a registration takes too long.
    """
    for (action, model), together in groupby(plan.changes, key=lambda change: (change.action, change.model)):
        changes = list(together)
        match action:
            case PlannedAction.CHANGE:
                hotswap.change_model(model, {name: value for each in changes for name, value in each.call.items()})
                yield from ((each, None) for each in changes)
            case PlannedAction.MONITOR:
                hotswap.change_monitoring(model, {name: value for each in changes for name, value in each.call.items()})
                yield from ((each, None) for each in changes)
            case _:
                for change in changes:
                    yield change, _do(hotswap, change)


def _do(hotswap: HotSwap, change: PlannedChange) -> str | None:
    match change.action:
        case PlannedAction.REGISTER:
            _register(hotswap, change)
        case PlannedAction.ALIAS if change.after is None:
            hotswap.take_alias(change.model, change.target)
        case PlannedAction.ALIAS:
            hotswap.give_alias(change.model, change.target, change.after)
        case PlannedAction.DEPLOY:
            return hotswap.deploy(change.model, **change.call).deployment_id
        case PlannedAction.CHANGE | PlannedAction.MONITOR:
            raise AssertionError("those of one model are done together")
    return None


def _register(hotswap: HotSwap, change: PlannedChange) -> None:
    body = dict(change.call)
    seen = hotswap.register_model(
        change.model,
        body.pop("version"),
        framework=body.pop("framework"),
        artifact_path=body.pop("artifactPath"),
        **body,
    )
    if isinstance(seen, RegistrationView):
        hotswap.await_registration(change.model, change.target)
