"""A replica without Ray: its ASGI application, mostly of a real ONNX model, a table looked up by `features[0]`."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotswap.domain.application import ApplicationSpec, ArtifactRef, ReplicaResources
from hotswap.domain.contract import NON_FINITE
from hotswap.domain.recording import Recording
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Environment, Framework
from hotswap.inference.records import InferenceRecord, decode_record
from serving.asgi import Receive
from serving.engine import Engine
from serving.inference import InferenceApp
from serving.recording import MOST_BYTES
from serving.runtimes import LoadedModel, Prediction, load
from serving.spool import SpoolWriter, read_frames, segments
from tests.fixtures.models import save_table

FEATURES = 5
PATH = "/Production-table-1a2b3c4d/api/v1/inference/table"


class FakeModel:
    """The attributes of `serving.runtimes.LoadedModel`. A subclass adds `predict`."""

    def __init__(self, input_schema: dict[str, Any] | None = None) -> None:
        self.input_schema = {"type": "number"} if input_schema is None else input_schema
        self.output_schema: dict[str, Any] = {}
        self.device = "cpu"


class Slow(FakeModel):
    """A model that sleeps for as many quarters of a second as `features` says, and remembers on which thread it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.threads.append(threading.current_thread().name)
        time.sleep(instances[0] / 4)
        return [Prediction(each, None) for each in instances]


def received(*messages: dict[str, Any]) -> Receive:
    """The messages of a server's one request, and then nothing more: its client waits."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


class Replica:
    """The ASGI application as Ray Serve calls it, and the records that it spools."""

    def __init__(
        self,
        directory: Path,
        model: LoadedModel | None = None,
        *,
        golden: Sequence[GoldenRequest] = (),
        resources: ReplicaResources = ReplicaResources(),  # noqa: B008 - it never changes
        allows_non_finite: bool = False,
        recording: Recording = Recording(),  # noqa: B008 - it never changes
        record_max_bytes: int = MOST_BYTES,
        spool_max_bytes: int = 10**6,
    ) -> None:
        if model is None:
            save_table(directory, features=FEATURES)
            model = load(Framework.ONNX, directory)
        spec = ApplicationSpec(
            name="Production-table-1a2b3c4d",
            deployment_id="dep-1a2b3c4d",
            environment=Environment.PRODUCTION,
            model="table",
            version="1.0.0",
            framework=Framework.ONNX,
            artifact=ArtifactRef("s3://ml-models/table.tar.gz", "0" * 64, 1),
            input_schema=model.input_schema,
            output_schema=model.output_schema | ({NON_FINITE: True} if allows_non_finite else {}),
            resources=resources,
            recording=recording,
        )
        self._spool = directory / "spool"
        writer = SpoolWriter(self._spool, application=spec.name, max_bytes=spool_max_bytes)
        self.engine = Engine(spec, model, writer, list(golden), record_max_bytes=record_max_bytes)
        self.records_at_answer = 0
        self.headers: dict[bytes, bytes] = {}

    @property
    def spooled(self) -> list[bytes]:
        """The segments of its spool as they are on the disk."""
        (directory,) = (self._spool / self.engine.spec.name).iterdir()
        return [path.read_bytes() for path in segments(directory)]

    @property
    def records(self) -> list[InferenceRecord]:
        data = self.spooled
        found = [record for each in data for record in read_frames(each, is_final=True).records]
        return [decode_record(record) for record in found]

    async def send(
        self, body: Any, path: str = PATH, *, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        status, answer = await self.send_raw(body, path, method=method, **headers)
        return status, json.loads(answer)

    async def send_raw(self, body: Any, path: str = PATH, *, method: str = "POST", **headers: str) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages: list[dict[str, Any]] = []
        receive = received({"type": "http.request", "body": content})

        async def send(message: dict[str, Any]) -> None:
            self.records_at_answer = len(self.records)
            messages.append(message)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await InferenceApp()({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        start, answer = messages
        self.headers = dict(start["headers"])
        assert int(self.headers[b"content-length"]) == len(answer["body"])
        return start["status"], answer["body"]


def row(first: float = 2) -> list[float]:
    return [first, 0, 0, 0, 0]
