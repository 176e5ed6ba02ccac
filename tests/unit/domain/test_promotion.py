"""The promotion policy, as a table: what is and was active on the left, what is said of it on the right."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from hotswap.domain.promotion import Activation, ActivePeriod, PromotionRule, active_period, unmet
from hotswap.domain.vocabulary import Environment
from hotswap.settings import DeploymentSettings

STAGING, PRODUCTION = Environment.STAGING, Environment.PRODUCTION
RULE = PromotionRule(STAGING, timedelta(hours=1))


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2030, 1, 1, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ([], (None, None)),
        ([Activation("2.0.0", at(9), None)], ("2.0.0", at(9))),
        # Deployed again while it was active: the time goes on.
        ([Activation("2.0.0", at(9), None), Activation("2.0.0", at(7), at(9))], ("2.0.0", at(7))),
        ([Activation("2.0.0", at(9), None), Activation("1.0.0", at(7), at(9))], ("2.0.0", at(9))),
        # Away and back again: what was before the break doesn't count.
        (
            [Activation("2.0.0", at(9), None), Activation("1.0.0", at(8), at(9)), Activation("2.0.0", at(1), at(8))],
            ("2.0.0", at(9)),
        ),
        ([Activation("2.0.0", at(9), None), Activation("2.0.0", at(1), at(8))], ("2.0.0", at(9))),
        # It served once, and nothing does now.
        ([Activation("2.0.0", at(1), at(8))], (None, None)),
    ],
)
def test_what_is_active_since_when_without_a_break(
    activations: list[Activation], expected: tuple[str | None, datetime | None]
) -> None:
    assert active_period(activations, at=at(10)) == ActivePeriod(*expected, at(10))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (ActivePeriod(None, None, at(10)), "no version is active there, so deploy 2.0.0 to Staging first"),
        (ActivePeriod("1.0.0", at(1), at(10)), "1.0.0 is active there since 2030-01-01T01:00:00Z, not 2.0.0"),
        (ActivePeriod("2.0.0", at(9, 30), at(10)), "since 2030-01-01T09:30:00Z, so ask again at 2030-01-01T10:30:00Z"),
        (ActivePeriod("2.0.0", at(9, 1), at(10)), "ask again at 2030-01-01T10:01:00Z"),
        (ActivePeriod("2.0.0", at(9), at(10)), None),
        (ActivePeriod("2.0.0", at(1), at(10)), None),
    ],
)
def test_production_needs_active_in_staging_for_an_hour(seen: ActivePeriod, said: str | None) -> None:
    why = unmet(RULE, seen, model="fraud", version="2.0.0", to=PRODUCTION)
    if said is None:
        assert why is None
    else:
        assert why is not None
        assert why.startswith("Production takes a version of fraud that is Active in Staging for 1:00:00")
        assert said in why


def test_a_rule_without_a_time_asks_for_active_alone() -> None:
    rule = PromotionRule(STAGING, timedelta())
    active, nothing = ActivePeriod("2.0.0", at(10), at(10)), ActivePeriod(None, None, at(10))
    assert unmet(rule, active, model="fraud", version="2.0.0", to=PRODUCTION) is None
    why = unmet(rule, nothing, model="fraud", version="2.0.0", to=PRODUCTION)
    assert why is not None
    assert "Active in Staging;" in why


def test_the_setting_is_read_as_people_write_it() -> None:
    policy = {"Production": {"activeIn": "Staging", "for": "PT1H"}, "Staging": {"activeIn": "Development"}}
    read = DeploymentSettings.model_validate({"promotion_policy": policy}).promotion_policy
    assert {environment: written.rule() for environment, written in read.items()} == {
        PRODUCTION: RULE,
        STAGING: PromotionRule(Environment.DEVELOPMENT, timedelta()),
    }
    assert DeploymentSettings().promotion_policy == {}


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"Production": {"activeIn": "Production"}}, "Production waits for Production: nothing could ever be deployed"),
        (
            {"Production": {"activeIn": "Staging"}, "Staging": {"activeIn": "Production"}},
            "Production waits for Staging waits for Production: nothing could ever be deployed",
        ),
        ({"Production": {"activeIn": "Staging", "for": "-PT1H"}}, "greater than or equal to 0"),
        ({"Production": {"activeIn": "Staging", "fro": "PT1H"}}, "fro"),
        ({"Prod": {"activeIn": "Staging"}}, "Prod"),
        ({"Production": {"for": "PT1H"}}, "activeIn"),
    ],
)
def test_a_policy_that_can_not_be_meant_stops_the_start(policy: dict[str, dict[str, str]], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        DeploymentSettings.model_validate({"promotion_policy": policy})
