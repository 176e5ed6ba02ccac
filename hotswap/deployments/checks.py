"""Checks that may refuse a deployment before it is accepted: one list, for its start and for a dry run.

A check promises nothing. The workflow checks a deployment's promotion policy and its contract once more when it
begins, and plans its capacity right before replicas start, since what they rest on may change while it waits. A
deployment that waits behind another is only held to what doesn't depend on that one. A rollback is exempt from policy
and contract: the way back must never be closed.
"""

from dataclasses import dataclass, replace

from hotswap.deployments.capacity import Planner, Wanted
from hotswap.deployments.request import promotion_rule
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.contract import ContractChange, contract_changes, narrowing
from hotswap.domain.deployments import ActiveDeployment, NewDeployment
from hotswap.domain.errors import (
    Conflict,
    ContractNarrowed,
    FieldProblem,
    HotSwapError,
    InsufficientCapacity,
    PolicyNotMet,
    ValidationFailed,
)
from hotswap.domain.promotion import unmet
from hotswap.domain.registry import VersionRef
from hotswap.domain.strategy import immediate_steps
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.ports import ActivationHistory, DeploymentReader, TrafficPlans
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import DeploymentSettings

PlanOrRefusal = CapacityPlan | HotSwapError | None
"""The plan as it would be now, or what refuses it; None where that can't be known, since Ray doesn't answer."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Finds what stands against a deployment now, as the errors with which a request for it would be refused."""

    settings: DeploymentSettings
    deployments: DeploymentReader
    activation_history: ActivationHistory
    plans: TrafficPlans
    planner: Planner

    async def refusals(self, new: NewDeployment, version: VersionRef) -> list[HotSwapError]:
        """Return all refusals that the deployment would meet now, except for the room that it needs."""
        beside = await self._beside(new, version)
        found = [await self._policy(new, version), _same_version(beside, new, version), _contract(beside, new, version)]
        return [refusal for refusal in found if refusal is not None]

    async def check(self, new: NewDeployment, version: VersionRef) -> None:
        """Raise the first of them: PolicyNotMet, Conflict, ContractNarrowed, InsufficientCapacity, ValidationFailed."""
        if refusals := await self.refusals(new, version):
            raise refusals[0]
        if (no_room := await self._room(new, version)) is not None:
            raise no_room

    async def plan(self, new: NewDeployment, version: VersionRef) -> PlanOrRefusal:
        """Plan its capacity as it would be now; None while Ray doesn't say what it has."""
        try:
            return await self.planner.look(await self._wanted(new, version))
        except (InsufficientCapacity, ValidationFailed) as refusal:
            return refusal

    async def _policy(self, new: NewDeployment, version: VersionRef) -> PolicyNotMet | None:
        """Check the promotion policy at the start time, if that is later: a version may have its hour by then.

        A model's first deployment isn't exempt: it has to prove itself like any other.
        """
        rule = promotion_rule(self.settings, new.environment, new.kind)
        if rule is None:
            return None
        seen = await self.activation_history.active_period(version.model, rule.active_in)
        if new.start_at is not None and new.start_at > seen.at:
            seen = replace(seen, at=new.start_at)
        message = unmet(rule, seen, model=version.model, version=version.version, to=new.environment)
        return None if message is None else PolicyNotMet(message, FieldProblem("environment", message))

    async def _room(self, new: NewDeployment, version: VersionRef) -> HotSwapError | None:
        """Check the room, unless another deployment runs: it holds some of the room, and is refused for first."""
        if not new.waits and await self.deployments.running_deployment(new.environment, version.model) is not None:
            return None
        return refusal_of(await self.plan(new, version), new)

    async def _beside(self, new: NewDeployment, version: VersionRef) -> ActiveDeployment | None:
        """Return what it would stand beside; None where nothing serves, for a rollback, and while another is under way.

        That other may come to serve, and what doesn't wait for it is refused because of it, by its name.
        """
        if new.kind is DeploymentKind.ROLLBACK:
            return None
        if await self.deployments.running_deployment(new.environment, version.model) is not None:
            return None
        return await self.activation_history.serving(version.model, new.environment)

    async def _wanted(self, new: NewDeployment, version: VersionRef) -> Wanted:
        stable = await self._stable(new.environment, version.model)
        config = CanaryConfig.model_validate(new.strategy_config)
        is_rollback = new.kind is DeploymentKind.ROLLBACK
        return Wanted(
            application=None,
            environment=new.environment,
            model=version.model,
            version=version.version,
            resources=new.resources,
            stable=stable,
            steps=immediate_steps() if stable is None or is_rollback or new.emergency is not None else config.plan(),
            allow_recreate=bool(config.allow_recreate),
            may_be_warm=is_rollback,
        )

    async def _stable(self, environment: Environment, model: str) -> str | None:
        routes = (await self.plans.current()).routes
        arm = next((route.stable for route in routes if (route.environment, route.model) == (environment, model)), None)
        return arm.application if arm is not None else None


def _same_version(beside: ActiveDeployment | None, new: NewDeployment, version: VersionRef) -> Conflict | None:
    """Refuse a canary of a version against itself, which gains nothing unless its resources or records change."""
    if beside is None or beside.setup.version != version.version:
        return None
    if new.says_resources and new.resources != beside.setup.resources:
        return None
    if version.recording != beside.setup.recording:
        return None
    named = "" if new.version is not None else ", and it is the newest that can be deployed"
    return Conflict(
        f"{version.model} {version.version} serves {new.environment} already, by {beside.deployment_id}{named}; "
        f"deploy another version, change its replicas by `hotswap scale {beside.deployment_id} N`, request "
        f"other resources, or change what its records keep by `hotswap models change {version.model}`"
    )


def _contract(beside: ActiveDeployment | None, new: NewDeployment, version: VersionRef) -> ContractNarrowed | None:
    """Refuse a version that narrows the contract: it turns clients away whom the stable answers."""
    if beside is None or new.accept_contract_change:
        return None
    changes = changes_of(beside, version)
    told = narrowing(changes)
    if told is None:
        return None
    details = [FieldProblem(change.field, change.message) for change in changes if change.narrows]
    return ContractNarrowed(
        f"{version.version} narrows the contract of {beside.setup.version}, which serves {new.environment}: "
        f"{told}. If clients are ready for that, set acceptContractChange (`--accept-contract-change`)",
        *details,
    )


def refusal_of(planned: PlanOrRefusal, new: NewDeployment) -> HotSwapError | None:
    """Return the refusal. What waits may wait for room too, but not for what can never be had."""
    if isinstance(planned, InsufficientCapacity) and new.waits:
        return None
    return planned if isinstance(planned, HotSwapError) else None


def changes_of(serving: ActiveDeployment, version: VersionRef) -> tuple[ContractChange, ...]:
    """Return the differences of the version's contract from that of the active version."""
    now = serving.setup
    return contract_changes(now.input_schema, version.input_schema, now.output_schema, version.output_schema)
