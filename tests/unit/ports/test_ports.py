"""No adapter lets the errors of its library through its port: whoever calls it knows the domain's alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from hotswap import ports
from hotswap.domain.analysis import JudgeName, Metric, Source, Subject
from hotswap.domain.application import ApplicationSpec, ArtifactRef, Desired
from hotswap.domain.backtest import RecordedRequest, Reply
from hotswap.domain.errors import HotSwapError
from hotswap.domain.traffic import ProxyReport, TrafficPlan
from hotswap.domain.vocabulary import Environment, Framework, RequestForm
from hotswap.metrics_sources.prometheus import PrometheusMeter
from hotswap.metrics_sources.webhook import WebhookMeter
from hotswap.notifications.webhooks import WebhookAnnouncer
from hotswap.settings import StorageSettings
from hotswap.storage.artifacts import S3Artifacts, S3Uploads
from hotswap.storage.calls import StorageCalls
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage, Patience
from hotswap.traffic.bus import RedisTrafficBus
from serving.backtest import HttpReplicaAsker
from serving.probe import HttpReplicaProbe
from serving.ray.client import RayServeClient
from tests.fixtures.ports import free_port

Calls = list[Callable[[], Awaitable[object]]]

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
SUBJECT = Subject("dep-1a2b3c4d", "Production", "fraud", "candidate", "stable", "2.0.0", "1.0.0", 1000, 0.0)
REPORT = ProxyReport(proxy="envoy-0", generation=1, reported_at=0.0)
REQUEST = RecordedRequest("r-1", RequestForm.INSTANCE, ([1.0],), (), 0.0)
URI = "s3://ml-models/fraud.tar.gz"


def metric(source: Source, query: str) -> Metric:
    return Metric("custom", source, JudgeName.THRESHOLD, maximum=1.0, query=query)


def ray(place: str, _: Path) -> Calls:
    client = RayServeClient(f"http://{place}", "secret", timeout=1.0)
    return [lambda: client.put([Desired.at_rest(SPEC)]), client.applications]


def state(place: str, _: Path) -> Calls:
    return [RayServeClient(f"http://{place}", "secret", timeout=1.0).resources]


def probe(place: str, _: Path) -> Calls:
    return [lambda: HttpReplicaProbe().warm_up(SPEC, [place])]


def asker(place: str, _: Path) -> Calls:
    client = HttpReplicaAsker(timeout=timedelta(seconds=1))
    return [lambda: client.ask(SPEC.name, SPEC.model, place, REQUEST)]


def announcer(place: str, _: Path) -> Calls:
    client = WebhookAnnouncer({"ops": SecretStr(f"http://{place}/")})
    return [lambda: client.announce("ops", {"id": "1"})]


def meters(place: str, _: Path) -> Calls:
    prometheus = PrometheusMeter(f"http://{place}")
    webhook = WebhookMeter({"ops": SecretStr(f"http://{place}/")})
    return [
        lambda: prometheus.read(metric(Source.PROMETHEUS, "up"), SUBJECT),
        lambda: webhook.read(metric(Source.WEBHOOK, "ops"), SUBJECT),
    ]


def bus(place: str, _: Path) -> Calls:
    carrier = RedisTrafficBus(Redis.from_url(f"redis://{place}", socket_timeout=1, socket_connect_timeout=1))
    return [
        lambda: carrier.publish(TrafficPlan()),
        lambda: anext(carrier.plans()),
        lambda: carrier.report(REPORT),
        carrier.proxies,
        lambda: carrier.remove_proxy("envoy-0"),
    ]


BRIEFLY = Patience(connect=1, read=1, retries=0)


def s3_at(place: str) -> StorageSettings:
    return StorageSettings.model_validate({"endpoint": place, "access_key": "k", "secret_key": "s"})


def storage(place: str, directory: Path) -> Calls:
    objects, uploads = ObjectStorage(s3_at(place), BRIEFLY), MultipartUploads(s3_at(place), BRIEFLY)
    file, now = directory / "file", datetime.now(UTC)
    file.write_text("content")
    blocking: list[Callable[[], object]] = [
        objects.ensure_bucket,
        objects.is_reachable,
        lambda: objects.size(URI),
        lambda: objects.upload(file, URI),
        lambda: list(objects.objects("fraud", before=now)),
        lambda: objects.remove(URI),
        lambda: objects.download(URI, directory / "fetched"),
        lambda: uploads.begin("m.tar"),
        lambda: uploads.parts("m.tar", "u"),
        lambda: uploads.complete("m.tar", "u", {}),
        lambda: uploads.abort("m.tar", "u"),
        lambda: list(uploads.abandoned("m", before=now)),
    ]
    return [partial(asyncio.to_thread, call) for call in blocking]


def artifacts(place: str, _: Path) -> Calls:
    client = S3Artifacts(ObjectStorage(s3_at(place), BRIEFLY), StorageCalls())

    async def listed() -> object:
        return [batch async for batch in client.listing("fraud", before=datetime.now(UTC))]

    return [lambda: client.size(URI), listed, lambda: client.remove(URI)]


def uploads(place: str, _: Path) -> Calls:
    client = S3Uploads(MultipartUploads(s3_at(place), BRIEFLY), StorageCalls())
    return [
        lambda: client.begin(URI),
        lambda: client.parts(URI, "u"),
        lambda: client.complete(URI, "u", {}),
        lambda: client.abort(URI, "u"),
        lambda: client.abandoned("m", before=datetime.now(UTC)),
    ]


ADAPTERS = {
    "ServeCluster": ray,
    "ClusterState": state,
    "ReplicaProbe": probe,
    "ReplicaAsker": asker,
    "Announcer": announcer,
    "Meter": meters,
    "TrafficBus": bus,
    "Inspector": storage,
    "ArtifactStorage": artifacts,
    "UploadStorage": uploads,
}
"""What each port's adapters ask of a server that isn't PostgreSQL; an inspector asks S3."""

MAY_ANSWER = {"Announcer", "ArtifactStorage", "Inspector", "ReplicaAsker", "ServeCluster", "UploadStorage"}
PURE = {"Comparison", "Judge", "Judging"}
BY_POSTGRES = {
    "ActivationHistory",
    "ActivationHistoryReader",
    "Admissions",
    "AlertRollbacks",
    "Alerts",
    "ArtifactReferences",
    "Backtests",
    "Capacity",
    "ConcurrencySlots",
    "CurationTransaction",
    "Curations",
    "DeploymentQueue",
    "DeploymentReader",
    "Deployments",
    "DesiredApplications",
    "Monitor",
    "Observations",
    "Planning",
    "LineageReader",
    "QueueNotifications",
    "ReconciliationRecords",
    "RegistrationTransaction",
    "RegistrationTransactions",
    "Registry",
    "RegistryReader",
    "StickyCallers",
    "RefusedCommands",
    "Teams",
    "TrafficPlans",
    "UploadRecords",
    "Validations",
    "VersionRegistrar",
    "Versions",
    "WriterLease",
}
"""Their errors are SQLAlchemy's: `hotswap.ports` says so."""


def test_every_port_is_in_the_table() -> None:
    assert set(ADAPTERS) | PURE | BY_POSTGRES == set(ports.__all__)


ANSWERS = {
    "an error": b"HTTP/1.1 500 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
    "a refusal": b"HTTP/1.1 403 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
    "nothing that it should": b"HTTP/1.1 200 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]",
    "half of it": b"HTTP/1.1 200 X\r\ncontent-length: 2000\r\nconnection: close\r\n\r\n[",
    "no HTTP": b"what do you want?\r\n",
    "nothing": b"",
}


@pytest.fixture
async def place(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where a server answers each connection so, or nobody listens at all."""
    if request.param is None:
        yield f"127.0.0.1:{free_port()}"
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64 * 1024)
        writer.write(ANSWERS[request.param])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("place", [None, *ANSWERS], indirect=True, ids=["nobody", *ANSWERS])
@pytest.mark.parametrize("port", ADAPTERS)
async def test_what_a_server_does_is_told_in_the_words_of_the_domain(port: str, place: str, tmp_path: Path) -> None:
    for call in ADAPTERS[port](place, tmp_path):
        try:
            answer = await call()
        except HotSwapError:
            continue
        # Only where the answer is one: a reply that is a failure, an empty list, or what needs no answer's text.
        assert port in MAY_ANSWER, answer
        if isinstance(answer, Reply):
            assert answer.problem is not None
