"""What judges beside errors and latency: a real Prometheus that reads the stack's own Envoy, a webhook, drift."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotswap.cli.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.views import DeploymentView
from hotswap.views.verdicts import MetricView
from tests.fixtures import work
from tests.fixtures.gate import Gate
from tests.fixtures.prometheus import needs_prometheus, running
from tests.fixtures.stack import Stack, wait_until
from tests.fixtures.work import ended, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "judged-from-elsewhere"
FAR_OFF = 100.0
SCRAPE = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: envoy
  metrics_path: /stats/prometheus
  static_configs: [{targets: ["%s"]}]
"""
FAILED = (
    'sum(increase(envoy_hotswap_hotswap_answers{application="${candidate}", status=~"5.."}[10s]))'
    ' / sum(increase(envoy_hotswap_hotswap_answers{application="${candidate}"}[10s]))'
)


@pytest.fixture(scope="module")
def asked(stack: Stack, register: Callable[[str, str], None], trained: TrainedModels) -> Iterator[Stack]:
    """The stack whose model is asked all along. The second version was trained on something else, as it says."""
    first_feature = [row[0] + FAR_OFF for row in trained.requests]
    register(MODEL, "1.0.0")
    register(MODEL, "3.0.0")
    work.register(stack, trained, MODEL, "2.0.0", referenceDistribution={"0": first_feature})
    first = ended(stack, stack.api.deploy(MODEL, version="1.0.0").deployment_id)
    assert first.status is S.ACTIVE, first.message
    with under_load(stack, MODEL, trained):
        yield stack


@pytest.fixture(scope="module")
def prometheus(stack: Stack, prometheus_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    envoy = stack.environment["urls"]["envoyAdmin"].removeprefix("http://")
    home: Path = tmp_path_factory.mktemp("prometheus")
    with running(home, SCRAPE % envoy, port=prometheus_port) as url:
        yield url


def canary(stack: Stack, version: str, *metrics: dict[str, Any]) -> str:
    config = {"canaryPercentage": 50, "monitoringDuration": "PT60S", "analysis": {"metrics": metrics}}
    return stack.api.deploy(MODEL, version=version, config=config).deployment_id


def judged(deployment: DeploymentView, name: str) -> MetricView | None:
    """The newest result of a metric, once there is one."""
    found = [metric for verdict in deployment.analysis for metric in verdict.metrics if metric.name == name]
    return found[-1] if found else None


@needs_prometheus
def test_a_query_that_says_too_much_rolls_back(asked: Stack, prometheus: str) -> None:
    query = {"name": "failed", "source": "prometheus", "query": FAILED, "max": 0.1, "interval": "PT1S", "failures": 2}
    last = ended(asked, canary(asked, "3.0.0", query))
    assert (last.status, last.reason) == (S.ROLLED_BACK, "MetricBreached"), last.message
    result = judged(last, "failed")
    assert result is not None
    assert result.outcome == "Harm"
    assert 0.1 < result.numbers["value"] <= 1


def test_a_webhook_that_says_no_rolls_back_and_its_reason_is_told(asked: Stack, gate: Gate) -> None:
    gate.answer = (200, json.dumps({"passed": True, "reason": "as fair as before"}).encode())
    deployment_id = canary(asked, "2.0.0", {"name": "fair", "source": "webhook", "webhook": "gate", "interval": "PT1S"})

    def passes() -> bool:
        seen = judged(asked.api.deployment(deployment_id), "fair")
        return seen is not None and seen.outcome == "Pass" and "as fair as before" in seen.message

    wait_until(passes, what="the webhook's yes")
    gate.answer = (200, json.dumps({"passed": False, "reason": "women are refused more often"}).encode())
    last = ended(asked, deployment_id)
    assert (last.status, last.reason) == (S.ROLLED_BACK, "MetricBreached"), last.message
    assert "women are refused more often" in last.message
    assert {told["deploymentId"] for _, told in gate.asked} == {deployment_id}


def test_requests_that_are_far_from_the_training_reference_roll_back(asked: Stack) -> None:
    last = ended(asked, canary(asked, "2.0.0", {"name": "drift", "source": "drift", "max": 0.3, "interval": "PT2S"}))
    assert (last.status, last.reason) == (S.ROLLED_BACK, "Drifted"), last.message
    assert "from its training reference" in last.message
