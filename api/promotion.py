"""Holds a new deployment to its environment's promotion policy, before it is accepted.

The workflow holds it to the same rule once more when it begins (`workflows/deployment.py`), since what the rule rests
on may change while a deployment waits. A rollback is exempt: the way back must never be closed. A model's first
deployment isn't: it has to prove itself like any other.
"""

from dataclasses import replace

from api.context import Parts
from hotswap.deployments.request import promotion_rule
from hotswap.domain.errors import FieldProblem, PolicyNotMet
from hotswap.domain.promotion import PromotionRule, unmet
from hotswap.domain.registry import VersionRef
from hotswap.persistence.deployments.rows import NewDeployment


async def check_promotion(parts: Parts, new: NewDeployment) -> None:
    """What its key has accepted before isn't refused any more.

    Raises PolicyNotMet, ModelNotFound and VersionNotFound.
    """
    rule = promotion_rule(parts.settings.deployments, new.environment, new.kind)
    if rule is None or await parts.queries.known_deployment(new) is not None:
        return
    wanted = (await parts.queries.version(new.model, new.version)).ref
    if (refusal := await promotion_refusal(parts, rule, new, wanted)) is not None:
        raise refusal


async def promotion_refusal(
    parts: Parts, rule: PromotionRule, new: NewDeployment, wanted: VersionRef
) -> PolicyNotMet | None:
    """By the time at which it is to begin, if it is to begin later: until then a version may come to have its hour."""
    seen = await parts.tenures.tenure(wanted.model, rule.active_in)
    if new.start_at is not None and new.start_at > seen.at:
        seen = replace(seen, at=new.start_at)
    why = unmet(rule, seen, model=wanted.model, version=wanted.version, to=new.environment)
    return None if why is None else PolicyNotMet(why, FieldProblem("environment", why))
