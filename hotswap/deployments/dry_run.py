"""Dry run of a deployment: what it would do, what differs, and what would refuse it. Starts nothing.

Invariant: it reads only. No row, no workflow, no audit event; asking never makes anything happen. A mistake in the
request as it is written is an error here as well, the same that the request itself would get; what refuses it only
now is in `refusals`, so that a person sees all of it at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hotswap.deployments.checks import changes_of, refusal_of
from hotswap.deployments.start import DeploymentStarter
from hotswap.deployments.views import step_view
from hotswap.domain.backtest import HURRIED_SECONDS, backtest_seconds
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.contract import ContractChange
from hotswap.domain.deployments import ActiveDeployment, NewDeployment
from hotswap.domain.differences import Setup, differences
from hotswap.domain.errors import Conflict, HotSwapError, Unavailable
from hotswap.domain.forecast import gpu_sum, length
from hotswap.domain.registry import VersionRef
from hotswap.domain.strategy import Step, immediate_steps
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


@dataclass(frozen=True, slots=True)
class DryRun:
    starter: DeploymentStarter

    async def run(self, new: NewDeployment) -> DryRunView:
        """Answer what would be. Raises ModelNotFound, VersionNotFound, and ValidationFailed for a past start."""
        acceptance = self.starter.acceptance
        config = CanaryConfig.model_validate(new.strategy_config)
        version = await acceptance.versions.ref(new.model, new.version)
        serving = await acceptance.checks.activation_history.serving(version.model, new.environment)
        steps = _steps(new, config, serving)
        planned = await acceptance.checks.plan(new, version)
        refusals = await self._refusals(new, version)
        if (no_room := refusal_of(planned, new)) is not None:
            refusals.append(no_room)
        plan = planned if isinstance(planned, CapacityPlan) else None
        backtest = _backtest_seconds(config, serving, is_emergency=new.emergency is not None)
        long = length(steps, backtest_seconds=backtest)
        gpus = gpu_sum(new.resources, serving.setup.resources if serving is not None else None, plan)
        return DryRunView(
            model=version.model,
            version=version.version,
            environment=new.environment,
            strategy=new.strategy,
            would_be_accepted=not refusals,
            refusals=[RefusalView(code=error.code, message=error.message) for error in refusals],
            approval_required=new.environment in acceptance.settings.approval_required,
            steps=[step_view(number, step, StepState.WAITING) for number, step in enumerate(steps)],
            least_seconds=long.least,
            most_seconds=long.most,
            backtest_seconds=backtest,
            gpus=GpuSumView(candidate=gpus.candidate, stable=gpus.stable, peak=gpus.peak),
            capacity=plan.message if plan is not None else None,
            serving=_serving(serving),
            contract=[] if serving is None else _contract(changes_of(serving, version)),
            differences=_differences(serving, new, version),
        )

    async def _refusals(self, new: NewDeployment, version: VersionRef) -> list[HotSwapError]:
        """Collect what `Checks` say, and what a start learns from PostgreSQL's transaction and from the workflow id.

        One that waits for its turn or its time is accepted, whoever runs.
        """
        refusals = await self.starter.acceptance.checks.refusals(new, version)
        try:
            await self.starter.acceptance.admissions.check(new, version)
        except Conflict as error:
            refusals.append(error)
        if not new.waits:
            try:
                await self.starter.check_free(new.environment, version.model)
            except (Conflict, Unavailable) as error:
                refusals.append(error)
        return refusals


def _steps(new: NewDeployment, config: CanaryConfig, serving: ActiveDeployment | None) -> tuple[Step, ...]:
    if new.emergency is not None:
        return immediate_steps()
    return config.plan() if serving is not None else config.first_plan()


def _backtest_seconds(config: CanaryConfig, serving: ActiveDeployment | None, *, is_emergency: bool) -> float:
    """Return how long the backtest may take; 0 if nothing serves."""
    if serving is None or not config.backtest.samples:
        return 0.0
    return HURRIED_SECONDS if is_emergency else backtest_seconds(config.progress_deadline)


def _contract(changes: Iterable[ContractChange]) -> list[ContractChangeView]:
    return [ContractChangeView(field=each.field, message=each.message, narrows=each.narrows) for each in changes]


def _serving(serving: ActiveDeployment | None) -> ServingView | None:
    if serving is None:
        return None
    return ServingView(version=serving.setup.version, deployment_id=serving.deployment_id, since=serving.since)


def _differences(serving: ActiveDeployment | None, new: NewDeployment, version: VersionRef) -> list[DifferenceView]:
    if serving is None:
        return []
    then = Setup(
        version=version.version,
        framework=version.framework,
        resources=new.resources,
        input_schema=version.input_schema,
        output_schema=version.output_schema,
        strategy=new.strategy,
        strategy_config=new.strategy_config,
        recording=version.recording,
    )
    return [DifferenceView(path=each.path, now=each.now, then=each.then) for each in differences(serving.setup, then)]
