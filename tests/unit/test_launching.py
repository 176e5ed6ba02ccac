"""What a deployment is started with where it doesn't say."""

from datetime import timedelta

import pytest

from hotswap.launching import with_defaults
from hotswap.messages import CanaryConfig
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
