"""Ray Serve's answers as they are on the wire, and what is made of them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from hotswap.domain.application import ApplicationHealth, ApplicationSpec, ArtifactRef, Desired, ReplicaResources
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.recording import RecordFeatures, Recording
from hotswap.domain.vocabulary import Environment, Framework
from serving.ray.client import RayServeClient, application_config, read_applications
from tests.fixtures.patience import until

SPEC = ApplicationSpec(
    name="Production-fraud-1a2b3c4d",
    deployment_id="dep-1a2b3c4d",
    environment=Environment.PRODUCTION,
    model="fraud",
    version="1.0.0",
    framework=Framework.ONNX,
    artifact=ArtifactRef("s3://ml-models/fraud.tar.gz", "0" * 64, 10),
    input_schema={"type": "array"},
    output_schema={},
)


def details(status: str = "RUNNING", *, host: str = "127.0.0.1", **application: Any) -> dict[str, Any]:
    return {
        "http_options": {"host": host},
        "applications": {"a": {"status": status, "message": "", "deployments": {}, **application}},
        "target_groups": [
            {
                "route_prefix": "/a",
                "targets": [
                    {"ip": "10.0.0.7", "port": 30001, "name": "SERVE_REPLICA::a#Replica#two"},
                    {"ip": "10.0.0.7", "port": 30000, "name": "SERVE_REPLICA::a#Replica#one"},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("listen", "reached"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::", "10.0.0.7")]
)
def test_replicas_are_reached_where_they_listen(listen: str, reached: str) -> None:
    assert read_applications(details(host=listen))["a"].targets == (f"{reached}:30000", f"{reached}:30001")


def test_the_fallback_proxy_is_no_replica() -> None:
    said = details("DEPLOYING")
    said["target_groups"][0]["targets"] = [{"ip": "10.0.0.7", "port": 8000, "name": "SERVE_PROXY::node"}]
    assert read_applications(said)["a"].targets == ()


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("RUNNING", ApplicationHealth.RUNNING),
        ("DEPLOY_FAILED", ApplicationHealth.FAILED),
        ("DELETING", ApplicationHealth.STOPPING),
        ("DEPLOYING", ApplicationHealth.STARTING),
        ("UNHEALTHY", ApplicationHealth.STARTING),
        ("NOT_STARTED", ApplicationHealth.STARTING),
    ],
)
def test_health_in_as_many_words_as_a_decision_needs(status: str, health: ApplicationHealth) -> None:
    assert read_applications(details(status))["a"].health is health


def test_why_it_fails_is_said_once_and_bounded_and_never_without_the_exception() -> None:
    failed = details("DEPLOY_FAILED", message="boom", deployments={"Replica": {"message": "no such file"}})
    assert read_applications(failed)["a"].message == "boom; no such file"
    traced = "The deployment failed to start 3 times in a row. Error:\n" + "  File x\n" * 900 + "KeyError: 'label'"
    twice = details("DEPLOY_FAILED", message=traced, deployments={"Replica": {"message": traced}})
    said = read_applications(twice)["a"].message
    assert said.endswith("KeyError: 'label'")
    assert said.count("KeyError") == 1
    assert len(said) <= 2_000


@pytest.mark.parametrize("said", [{}, {"applications": None, "target_groups": None, "http_options": None}])
def test_a_serve_that_runs_nothing_yet_has_no_applications(said: dict[str, Any]) -> None:
    assert read_applications(said) == {}


def test_an_application_goes_by_its_name_alone() -> None:
    config = application_config(Desired.at_rest(SPEC))
    assert (config["name"], config["route_prefix"]) == (SPEC.name, f"/{SPEC.name}")
    assert config["args"]["artifact"] == {"uri": SPEC.artifact.uri, "sha256": "0" * 64, "size_bytes": 10}


def test_what_runs_since_before_an_upgrade_is_told_nothing_new() -> None:
    """Serve restarts all replicas of an application whose arguments differ in anything."""
    config = application_config(Desired.at_rest(SPEC))
    assert config["args"]["resources"] == {
        "replicas": 1,
        "gpus": 0.0,
        "cpus": 0.25,
        "max_ongoing_requests": 64,
        "min_replicas": None,
        "max_replicas": None,
    }
    assert config["args"].keys() == {
        *("name", "deployment_id", "environment", "model", "version", "framework", "artifact"),
        *("input_schema", "output_schema", "resources", "warmup_timeout_seconds"),
    }
    assert config["deployments"][0]["ray_actor_options"] == {"num_cpus": 0.25, "num_gpus": 0.0}


def test_what_an_application_asks_for_beyond_that_reaches_its_replicas() -> None:
    asked = replace(
        SPEC,
        requirements=("a==1",),
        resources=ReplicaResources(max_batch_size=8, batch_wait_seconds=0.01),
        recording=Recording(RecordFeatures.SAMPLE, 0.2, ("ssn",)),
    )
    args = application_config(Desired.at_rest(asked))["args"]
    assert msgspec.convert(args, ApplicationSpec) == asked
    assert msgspec.convert(application_config(Desired.at_rest(SPEC))["args"], ApplicationSpec) == SPEC


def client_of(answer: Callable[[httpx.Request], Any]) -> RayServeClient:
    client = RayServeClient("http://serve", "secret")
    client._http = httpx.AsyncClient(
        base_url="http://serve", headers=client._http.headers, transport=httpx.MockTransport(answer)
    )
    return client


async def test_a_put_names_every_application_and_a_refusal_is_the_requests_fault() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            400 if b'"applications":[]' not in request.content else 200, text="route_prefix is not unique"
        )

    client = client_of(answer)
    await client.put([])
    with pytest.raises(ValidationFailed, match="not unique"):
        await client.put([Desired.at_rest(SPEC)])
    assert asked[0].headers["authorization"] == "Bearer secret"
    await client.aclose()


async def test_all_who_ask_at_one_time_share_an_answer_that_is_newer_than_their_question() -> None:
    begun = 0
    go_on = asyncio.Event()

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal begun
        begun += 1
        status = "DEPLOYING" if begun == 1 else "RUNNING"
        await go_on.wait()
        return httpx.Response(200, json=details(status))

    client = client_of(answer)
    first = asyncio.create_task(client.applications())
    await until(lambda: begun == 1, every=0.001)
    others = [asyncio.create_task(client.applications()) for _ in range(5)]
    await asyncio.sleep(0.01)
    go_on.set()
    assert (await first)["a"].health is ApplicationHealth.STARTING
    assert {(await other)["a"].health for other in others} == {ApplicationHealth.RUNNING}
    assert begun == 2
    await client.aclose()
