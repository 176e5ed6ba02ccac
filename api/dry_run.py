"""`POST /deployments?dryRun=true`: what a deployment would do, what differs, and what would refuse it. Starts nothing.

Invariant: it reads only. No row, no workflow, no audit event; asking is never a reason for anything to happen. What
would be wrong with the request as it is written is an error here as well, the same that the request itself would get;
what stands against it only now is in `refusals`, so that a person sees all of it at once.
"""

from collections.abc import Awaitable, Callable, Iterable

from api.capacity import plan_now, refusal_of
from api.context import Parts
from api.contract import changes_of, contract_refusal, same_version_refusal
from api.launch import check_free
from api.presentation import step_view
from api.promotion import promotion_refusal
from hotswap.deployments.request import promotion_rule
from hotswap.domain.backtest import HURRIED_SECONDS, backtest_seconds
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.contract import ContractChange
from hotswap.domain.differences import Setup, differences
from hotswap.domain.errors import Conflict, HotSwapError, Unavailable
from hotswap.domain.forecast import gpu_sum, length
from hotswap.domain.registry import VersionRef
from hotswap.domain.strategy import immediate_steps
from hotswap.persistence.deployments.rows import NewDeployment
from hotswap.persistence.deployments.tenures import Serving
from hotswap.schemas.responses import (
    ContractChangeView,
    DifferenceView,
    DryRunView,
    GpuSumView,
    RefusalView,
    ServingView,
    StepState,
)
from hotswap.schemas.strategy import CanaryConfig

Check = Callable[[Parts, NewDeployment, VersionRef], Awaitable[HotSwapError | None]]
"""Answers the error with which the request would be refused now, or None."""


async def _policy(parts: Parts, new: NewDeployment, wanted: VersionRef) -> HotSwapError | None:
    rule = promotion_rule(parts.settings.deployments, new.environment, new.kind)
    return None if rule is None else await promotion_refusal(parts, rule, new, wanted)


async def _admission(parts: Parts, new: NewDeployment, wanted: VersionRef) -> HotSwapError | None:
    """A freeze, or a line that one who won't wait can't enter."""
    try:
        await parts.queries.check_admission(new, wanted)
    except Conflict as error:
        return error
    return None


async def _another_runs(parts: Parts, new: NewDeployment, wanted: VersionRef) -> HotSwapError | None:
    """One that waits for its turn or its time is accepted, whoever runs."""
    if new.waits:
        return None
    try:
        await check_free(parts, new.environment, wanted.model)
    except (Conflict, Unavailable) as error:
        return error
    return None


CHECKS: tuple[Check, ...] = (_policy, same_version_refusal, contract_refusal, _admission, _another_runs)
"""All that may refuse a well written request now, but for the room that it needs: that is planned once, and shown."""


async def dry_run(parts: Parts, new: NewDeployment, *, config: CanaryConfig) -> DryRunView:
    """Raises ModelNotFound, VersionNotFound, and ValidationFailed for a start that is past."""
    wanted = (await parts.queries.version(new.model, new.version)).ref
    serving = await parts.tenures.serving(wanted.model, new.environment)
    if new.emergency is not None:
        steps = immediate_steps()
    else:
        steps = config.plan() if serving is not None else config.first_plan()
    planned = await plan_now(parts, new, wanted)
    found = [*[await check(parts, new, wanted) for check in CHECKS], refusal_of(planned, new)]
    refusals = [error for error in found if error is not None]
    plan = planned if isinstance(planned, CapacityPlan) else None
    backtest = _backtest_seconds(config, serving, is_emergency=new.emergency is not None)
    long = length(steps, backtest_seconds=backtest)
    gpus = gpu_sum(new.resources, serving.setup.resources if serving is not None else None, plan)
    return DryRunView(
        model=wanted.model,
        version=wanted.version,
        environment=new.environment,
        strategy=new.strategy,
        would_be_accepted=not refusals,
        refusals=[RefusalView(code=error.code, message=error.message) for error in refusals],
        approval_required=new.environment in parts.settings.deployments.approval_required,
        steps=[step_view(number, step, StepState.WAITING) for number, step in enumerate(steps)],
        least_seconds=long.least,
        most_seconds=long.most,
        backtest_seconds=backtest,
        gpus=GpuSumView(candidate=gpus.candidate, stable=gpus.stable, peak=gpus.peak),
        capacity=plan.message if plan is not None else None,
        serving=_serving(serving),
        contract=[] if serving is None else _contract(changes_of(serving, wanted)),
        differences=_differences(serving, new, wanted),
    )


def _backtest_seconds(config: CanaryConfig, serving: Serving | None, *, is_emergency: bool) -> float:
    """How long the candidate may be asked what the stable was asked: not at all where nothing serves."""
    if serving is None or not config.backtest.samples:
        return 0.0
    return HURRIED_SECONDS if is_emergency else backtest_seconds(config.progress_deadline)


def _contract(changes: Iterable[ContractChange]) -> list[ContractChangeView]:
    return [ContractChangeView(field=each.field, message=each.message, narrows=each.narrows) for each in changes]


def _serving(serving: Serving | None) -> ServingView | None:
    if serving is None:
        return None
    return ServingView(version=serving.setup.version, deployment_id=serving.deployment_id, since=serving.since)


def _differences(serving: Serving | None, new: NewDeployment, wanted: VersionRef) -> list[DifferenceView]:
    if serving is None:
        return []
    then = Setup(
        version=wanted.version,
        framework=wanted.framework,
        resources=new.resources,
        input_schema=wanted.input_schema,
        output_schema=wanted.output_schema,
        strategy=new.strategy,
        strategy_config=new.strategy_config,
    )
    return [DifferenceView(path=each.path, now=each.now, then=each.then) for each in differences(serving.setup, then)]
