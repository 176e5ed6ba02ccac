"""What others ask and are told: a real Prometheus, which a rollout is judged by too, a webhook, drift, traces.

Prometheus runs on the configuration, rules and dashboard of docker/, with this stack's addresses.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import DeploymentView
from hotswap.schemas.responses.verdicts import MetricView
from tests.fixtures import dashboards, work
from tests.fixtures.gate import Gate
from tests.fixtures.otlp import Collector
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.prometheus import needs_prometheus, running
from tests.fixtures.stack import Listeners, Stack, worker_to_oneself
from tests.fixtures.work import ended, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "judged-from-elsewhere"
FAR_OFF = 100.0
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
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="1.0.0")).deployment_id)
    assert first.status is S.ACTIVE, first.message
    with under_load(stack, MODEL, trained):
        yield stack


@pytest.fixture(scope="module")
def prometheus(stack: Stack, listeners: Listeners, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    urls = stack.environment["urls"]
    addresses = {
        "hotswap-api": urls["api"],
        "hotswap-envoy": urls["envoyAdmin"],
        "hotswap-worker": f"127.0.0.1:{listeners.worker_metrics}",
        "hotswap-ray": urls["rayMetrics"],
    }
    targets = {job: address.removeprefix("http://") for job, address in addresses.items()}
    config = dashboards.config(targets, token_file=str(stack.data / "secrets" / "metrics_token"), seconds=2)
    with running(tmp_path_factory.mktemp("prometheus"), config, port=listeners.prometheus) as url:
        yield url


def canary(stack: Stack, version: str, *metrics: dict[str, Any]) -> str:
    config = {"canaryPercentage": 50, "monitoringDuration": "PT60S", "analysis": {"metrics": metrics}, **work.UNTRIED}
    return stack.api.deployments.start(
        CreateDeployment(model_id=MODEL, version=version, strategy_config=config)
    ).deployment_id


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


ONLY_WHEN_SOMETHING_IS_WRONG = {
    "temporal_workflow_task_execution_failed_total": ("Temporal's SDK", "workflow_task_execution_failed"),
}
"""Metrics that no healthy stack shows, and what shows that they exist all the same: their names, in the program."""


@needs_prometheus
def test_everything_that_rules_and_dashboard_ask_for_is_there(asked: Stack, prometheus: str) -> None:
    """After the rollout above, of which there are answers, errors and rescues."""
    with httpx.Client(base_url=prometheus, trust_env=False, timeout=patient(30)) as http:

        def told(path: str, **query: str) -> Any:
            answer = http.get(f"/api/v1/{path}", params=query)
            assert answer.status_code == httpx.codes.OK, f"{query}: {answer.text}"
            return answer.json()["data"]

        queries = [*dashboards.rules(), *dashboards.panels()]
        wanted = {name for query in queries for name in query.metrics} - ONLY_WHEN_SOMETHING_IS_WRONG.keys()

        def missing() -> set[str]:
            return wanted - {*told("metadata"), *told("label/__name__/values")}

        wait_until(lambda: not missing(), what=lambda: f"somebody who tells {sorted(missing())}")
        for query in queries:
            told("query", query=query.expression)

        def has_value(record: str) -> bool:
            return bool(told("query", query=f'{record}{{model="{MODEL}"}}')["result"])

        for record in dashboards.recorded():
            wait_until(partial(has_value, record), what=f"a value of {record}")
        found = [rule for group in told("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}
        assert len(found) == len(dashboards.rules())

        def not_up() -> list[str]:
            return [each["labels"]["job"] for each in told("targets")["activeTargets"] if each["health"] != "up"]

        # On two busy cores one misses a scrape at times.
        wait_until(lambda: not not_up(), what=lambda: f"a scrape of {not_up()}")


def test_a_trace_goes_from_the_request_through_temporal_to_the_activity(
    asked: Stack, collector: Collector, register: Callable[[str, str], None]
) -> None:
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    body = {
        "name": MODEL,
        "version": "1.0.1",
        "framework": "ONNX",
        "artifactPath": f"s3://ml-models/{MODEL}/1.0.0.tar.gz",
    }
    headers = {"traceparent": f"00-{trace}-{caller}-01"}
    names = {
        "POST /api/v1/models": "hotswap-api",
        "StartWorkflow:Registration": "hotswap-api",
        "RunWorkflow:Registration": "hotswap-worker",
        "StartActivity:inspect_artifact": "hotswap-worker",
        "RunActivity:inspect_artifact": "hotswap-worker",
    }
    with worker_to_oneself(asked):  # a killed one has spans that it has not sent yet
        registered = asked.http.post("/api/v1/models", json=body, headers=headers)
        assert registered.status_code in {httpx.codes.CREATED, httpx.codes.ACCEPTED}, "201 where it took no while"
        wait_until(lambda: names.keys() <= collector.of(trace).keys(), what=f"all spans of {trace}")
    found = collector.of(trace)
    assert {name: found[name].service for name in names} == names
    by_id = {span.span_id: span for span in found.values()}
    at, way = found["RunActivity:inspect_artifact"], []
    while (parent := by_id.get(at.parent_id)) is not None:
        way.append(parent.name)
        at = parent
    assert "StartWorkflow:Registration" in way
    assert way[-1] == "POST /api/v1/models"
    assert at.parent_id == caller
    assert asked.api.audit.list(trace_id=trace).items  # under the same id


def test_a_webhook_that_says_no_rolls_back_and_its_reason_is_told(asked: Stack, gate: Gate) -> None:
    gate.answer = (200, json.dumps({"passed": True, "reason": "as fair as before"}).encode())
    deployment_id = canary(asked, "2.0.0", {"name": "fair", "source": "webhook", "webhook": "gate", "interval": "PT1S"})

    def passes() -> bool:
        seen = judged(asked.api.deployments.get(deployment_id), "fair")
        return seen is not None and seen.outcome == "Pass" and "as fair as before" in seen.message

    wait_until(passes, what="the webhook's yes")
    gate.answer = (200, json.dumps({"passed": False, "reason": "women are refused more often"}).encode())
    last = ended(asked, deployment_id)
    assert (last.status, last.reason) == (S.ROLLED_BACK, "MetricBreached"), last.message
    assert "women are refused more often" in (last.message or "")
    assert {told["deploymentId"] for _, told in gate.asked} == {deployment_id}


def test_requests_that_are_far_from_the_training_reference_roll_back(asked: Stack) -> None:
    last = ended(asked, canary(asked, "2.0.0", {"name": "drift", "source": "drift", "max": 0.3, "interval": "PT2S"}))
    assert (last.status, last.reason) == (S.ROLLED_BACK, "Drifted"), last.message
    assert "from its training reference" in (last.message or "")
