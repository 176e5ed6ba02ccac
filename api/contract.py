"""Holds a new deployment to what clients of the version that serves rely on, before it is accepted.

Nothing is gained by a canary of a version against itself, and one that narrows the contract turns clients away whom the
stable answers: it takes somebody's word. Validation holds a rollout to the contract once more when it begins
(`activities/validation.py`), since another version may serve by then. What waits behind another deployment is looked at
only there: what will serve isn't known yet. A rollback is exempt: the way back must never be closed.
"""

from api.context import Parts
from hotswap.domain.contract import ContractChange, contract_changes, narrowing
from hotswap.domain.errors import Conflict, ContractNarrowed, FieldProblem
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.persistence.deployments.rows import NewDeployment
from hotswap.persistence.deployments.tenures import Serving


async def check_contract(parts: Parts, new: NewDeployment) -> None:
    """What its key has accepted before isn't refused any more.

    Raises Conflict for the version that serves, ContractNarrowed, ModelNotFound and VersionNotFound.
    """
    if new.kind is DeploymentKind.ROLLBACK or await parts.queries.known_deployment(new) is not None:
        return
    wanted = (await parts.queries.version(new.model, new.version)).ref
    for check in (same_version_refusal, contract_refusal):
        if (refusal := await check(parts, new, wanted)) is not None:
            raise refusal


async def same_version_refusal(parts: Parts, new: NewDeployment, wanted: VersionRef) -> Conflict | None:
    """The version that serves may be deployed again with other replicas or resources, where these are asked for."""
    serving = await _stable(parts, new, wanted)
    if serving is None or serving.setup.version != wanted.version:
        return None
    if new.says_resources and new.resources != serving.setup.resources:
        return None
    named = "" if new.version is not None else ", and it is the newest that can be deployed"
    return Conflict(
        f"{wanted.model} {wanted.version} serves {new.environment} already, by {serving.deployment_id}{named}; deploy "
        f"another version, change its replicas by `hotswap scale {serving.deployment_id} N`, or give the resources "
        "that it is to have"
    )


async def contract_refusal(parts: Parts, new: NewDeployment, wanted: VersionRef) -> ContractNarrowed | None:
    serving = await _stable(parts, new, wanted)
    if serving is None or new.accept_contract_change:
        return None
    changes = changes_of(serving, wanted)
    told = narrowing(changes)
    if told is None:
        return None
    details = [FieldProblem(change.field, change.message) for change in changes if change.narrows]
    return ContractNarrowed(
        f"{wanted.version} narrows the contract of {serving.setup.version}, which serves {new.environment}: {told}. "
        "Where clients are ready for that, say acceptContractChange (`--accept-contract-change`)",
        *details,
    )


def changes_of(serving: Serving, wanted: VersionRef) -> tuple[ContractChange, ...]:
    now = serving.setup
    return contract_changes(now.input_schema, wanted.input_schema, now.output_schema, wanted.output_schema)


async def _stable(parts: Parts, new: NewDeployment, wanted: VersionRef) -> Serving | None:
    """What it would stand beside; None where nothing serves, or another is under way that may come to.

    One that doesn't wait for that other is refused because of it, by its name.
    """
    if await parts.queries.running_deployment(new.environment, wanted.model) is not None:
        return None
    return await parts.tenures.serving(wanted.model, new.environment)
