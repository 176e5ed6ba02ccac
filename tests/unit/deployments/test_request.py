"""What a deployment is started with where it doesn't say."""

from datetime import timedelta

import pytest

from hotswap.deployments.request import with_defaults
from hotswap.schemas.strategy import CanaryConfig
from hotswap.schemas.strategy.canary import PauseConfig
from hotswap.settings import DeploymentSettings, Settings


@pytest.mark.parametrize(("analysis", "floor_ms"), [({}, 20), ({"alpha": 0.05}, 20), ({"latencyFloor": "PT0.001S"}, 1)])
def test_the_settings_say_which_slowdown_is_no_harm_unless_the_deployment_does(
    settings: Settings, analysis: dict[str, object], floor_ms: float
) -> None:
    busy = DeploymentSettings(latency_floor=timedelta(milliseconds=20))
    config = with_defaults(
        CanaryConfig.model_validate({"analysis": analysis}), settings.model_copy(update={"deployments": busy})
    )
    policy = config.analysis_policy()
    assert policy.alpha == analysis.get("alpha", 0.01)
    assert {metric.name: metric.floor_ms for metric in policy.metrics}["latency"] == floor_ms


@pytest.mark.parametrize(("backtest", "samples"), [({}, 30), ({"maxFailures": 0.1}, 30), ({"samples": 0}, 0)])
def test_the_settings_say_how_much_a_candidate_is_asked_unless_the_deployment_does(
    settings: Settings, backtest: dict[str, object], samples: int
) -> None:
    dear = settings.model_copy(update={"deployments": DeploymentSettings.model_validate({"backtest_samples": "30"})})
    asked = CanaryConfig.model_validate({"backtest": backtest})
    config = with_defaults(asked, dear)
    assert (config.backtest.samples, config.backtest.max_failures) == (samples, asked.backtest.max_failures)


@pytest.mark.parametrize(
    ("said", "seconds", "limit_ms"),
    [
        ({}, 7, 2_000),
        ({"maxFailures": 0.1}, 7, 2_000),
        ({"monitoringDuration": "PT9S"}, 9, 2_000),
        ({"maxLatency": "PT0.5S"}, 7, 500),
    ],
)
def test_the_settings_say_how_a_first_version_is_watched_unless_the_deployment_does(
    settings: Settings, said: dict[str, object], seconds: float, limit_ms: float
) -> None:
    hurried = settings.model_copy(
        update={
            "deployments": DeploymentSettings(first_version_duration=timedelta(seconds=7)),
            "gateway": settings.gateway.model_copy(update={"candidate_timeout": timedelta(seconds=2)}),
        }
    )
    config = with_defaults(CanaryConfig.model_validate({"firstVersion": said}), hurried)
    assert [step.bake_seconds for step in config.first_plan()] == [seconds]
    assert {each.name: each.maximum for each in config.first_policy().metrics}["latency"] == limit_ms
    unsaid = with_defaults(CanaryConfig.model_validate({"monitoringDuration": "PT2M"}), settings)
    assert [step.bake_seconds for step in unsaid.first_plan()] == [120], "as long as a step bakes"


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (True, timedelta(hours=2)),
        ({"onLimit": "proceed"}, timedelta(hours=2)),
        ({"limit": "PT5M"}, timedelta(minutes=5)),
        ({"limit": None}, None),
    ],
)
def test_a_step_waits_for_its_approval_no_longer_than_a_start_unless_it_says_so(
    settings: Settings, said: object, limit: timedelta | None
) -> None:
    hasty = DeploymentSettings(approval_deadline=timedelta(hours=2))
    asked = CanaryConfig.model_validate({"steps": [{"weight": 10, "pause": said}, {"weight": 100}]})
    config = with_defaults(asked, settings.model_copy(update={"deployments": hasty}))
    assert config.approval_deadline == timedelta(hours=2)
    assert config.steps is not None
    first, last = config.steps
    assert isinstance(first.pause, PauseConfig)
    assert (first.pause.limit, last.pause) == (limit, False)
    stored = CanaryConfig.model_validate(config.model_dump(mode="json", by_alias=True))
    assert with_defaults(stored, settings) == config, "what is asked for again waits as long as the first time"


def test_a_deployment_has_its_own_deadline_for_approvals(settings: Settings) -> None:
    asked = CanaryConfig.model_validate({"approvalDeadline": "PT3H", "steps": [{"weight": 100, "pause": True}]})
    config = with_defaults(asked, settings)
    assert config.approval_deadline == timedelta(hours=3)
    pause = config.plan()[0].pause
    assert pause is not None
    assert pause.limit_seconds == 3 * 3600
