"""A promotion policy is held to once more when a deployment begins: what it rests on may have changed meanwhile."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.promotion import ActivePeriod, PromotionRule
from hotswap.domain.traffic import Arm
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment
from tests.workflows.conftest import Stage
from tests.workflows.world import rollout_brief

RULE = PromotionRule(Environment.STAGING, timedelta(hours=1))
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
PROVEN = ActivePeriod("2.0.0", NOW - timedelta(hours=2), NOW)


async def test_what_was_replaced_while_it_waited_for_its_approval_is_not_begun(stage: Stage) -> None:
    async with stage.rollout(approval=True, promotion=RULE, active_period=PROVEN) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        rollout.world.active_period = replace(PROVEN, version="2.1.0")
        await rollout.handle.signal("approve", {"by": "bob"})
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.POLICY_NOT_MET)
    assert "2.1.0 is active there since 2030-01-01T10:00:00Z, not 2.0.0" in outcome.message
    assert rollout.world.statuses == [S.PENDING, S.AWAITING_APPROVAL, S.FAILED]
    assert rollout.world.samples == [], "neither replicas nor a route were touched"


async def test_what_meets_it_goes_its_way(stage: Stage) -> None:
    async with stage.rollout(promotion=RULE, active_period=PROVEN) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE


async def test_the_way_back_is_never_closed(stage: Stage) -> None:
    warm = Arm("Production-fraud-before", "2.0.0", "dep-before")
    brief = replace(rollout_brief(), kind=DeploymentKind.ROLLBACK, warm=warm)
    async with stage.rollout(brief=brief, promotion=RULE, active_period=ActivePeriod(None, None, NOW)) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
