"""One model with what surrounds a prediction: schema check, timing, thread, record.

Every inference that is answered, with a prediction or with an error, has its record in the spool before the answer
leaves, but for what is asked again, by a backtest or for the concurrent reference at 100%: that is no client's, and is
in no figure.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.contract import allows_non_finite
from hotswap.domain.errors import (
    Conflict,
    HotSwapError,
    InferenceFailed,
    MethodNotAllowed,
    NotFound,
    SchemaValidationFailed,
    ValidationFailed,
    nearest,
)
from hotswap.domain.headers import BACKTEST_HEADER, MODEL_SECONDS_HEADER, REFUSED_HEADER
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import InferenceStatus
from hotswap.inference.records import InferenceRecord, encode_record, to_json
from serving import request_headers
from serving.asgi import ClientGone, Receive, unless_gone
from serving.batching import Batcher
from serving.codecs import (
    MOST_INSTANCES,
    Batch,
    OneInstance,
    ParsedRequest,
    RawHeaders,
    RequestCodec,
    RequestHeaders,
    json_headers,
)
from serving.golden import attempt, made_up_request, problem_of
from serving.open_inference import OpenInference
from serving.pace import Pace
from serving.recording import MOST_BYTES, RecordContent
from serving.runtimes import LoadedModel, Prediction
from serving.schemas import FeatureSchema
from serving.spool import SpoolWriter

ReplicaAnswer = tuple[int, RawHeaders, bytes]
"""Status, headers but for the length, body."""

BAD_REQUEST = 400
_REFUSED = (REFUSED_HEADER.encode(), b"1")
_BACKTEST = BACKTEST_HEADER.encode()
_MODEL_SECONDS = MODEL_SECONDS_HEADER.encode()

logger = logging.getLogger(__name__)

STATUS: dict[type[HotSwapError], int] = {
    HotSwapError: 500,
    ValidationFailed: BAD_REQUEST,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
}
"""Each entry holds for the classes below it too: read it by `status_of`."""


def status_of(error: HotSwapError) -> int:
    """Return the status that a replica answers this error with."""
    return nearest(STATUS, error) or STATUS[HotSwapError]


class Engine:
    """The engine with which a replica answers; ready once it has warmed up."""

    def __init__(
        self,
        spec: ApplicationSpec,
        model: LoadedModel,
        spool: SpoolWriter,
        golden: list[GoldenRequest],
        *,
        record_max_bytes: int = MOST_BYTES,
    ) -> None:
        self.spec = spec
        self._model = model
        self._spool = spool
        self._content = RecordContent(spec.recording, most_bytes=record_max_bytes, has_spare=spool.has_spare)
        self._golden = golden
        self._schema = FeatureSchema(spec.input_schema)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._pace = Pace(spec.input_schema)
        self._batcher: Batcher | None = None
        if spec.resources.max_batch_size > 1:
            most, wait = spec.resources.max_batch_size, spec.resources.batch_wait_seconds
            self._batcher = Batcher(self._gathered, most=most, wait=wait)
        self._process = secrets.token_hex(8)
        self._record = itertools.count()
        self.headers = json_headers(spec)
        self.device = model.device
        self._allows_non_finite = allows_non_finite(spec.output_schema)
        self.one, self.batch, self.tensors = OneInstance(spec), Batch(spec), OpenInference(spec, model)

    def warm_up(self) -> int:
        """Answer every golden request, or one made up from the schema; measure the model by it. How many are golden.

        Raises InferenceFailed with what went wrong.
        """
        requests = self._golden or [made_up_request(self.spec.input_schema)]
        kind = "a golden request" if self._golden else "a request made up from its schema"
        for _ in range(2):  # the first round pays for lazy initialization, the second is what counts
            trials = [
                attempt(self._model, self._schema, request, allows_non_finite=self._allows_non_finite)
                for request in requests
            ]
            for trial in trials:
                if trial.problem is not None:
                    raise InferenceFailed(f"{self.spec.name} fails {kind}: {trial.problem}")
        for request, trial in zip(requests, trials, strict=True):
            self._pace.learn(self._pace.size([request.features]), trial.seconds)
        answers = [trial.answer for trial in trials if trial.answer is not None]
        self.tensors.learn(answers)
        self._write_in_every_form(answers, kind)
        return len(self._golden)

    def _write_in_every_form(self, answers: Sequence[Prediction], kind: str) -> None:
        """Write the answers in every form.

        Raises InferenceFailed where one can't be written: no client could be answered in that form.
        """
        for codec in (self.one, self.batch, self.tensors):
            try:
                for asked, answer in itertools.product(codec.rehearsals(), answers):
                    codec.answer(asked, "warm-up", [answer], 0.0)
            except Exception as error:
                raise InferenceFailed(
                    f"{self.spec.name} fails {kind}: its answer can't be written as {codec.name}: {error}"
                ) from error

    async def warm_up_aside(self) -> int:
        """Run `warm_up` while the event loop continues to answer."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.warm_up)

    async def infer(
        self, body: bytes, *, codec: RequestCodec, headers: RequestHeaders, receive: Receive
    ) -> ReplicaAnswer:
        """Answer one request; its record is spooled by then, unless a backtest asks it again.

        Raises ClientGone, and records nothing, when the client leaves before its prediction is there.
        """
        requested_at, begun = time.time(), time.perf_counter()
        request_id = request_headers.request_id(headers)
        asked: ParsedRequest | None = None
        instances: list[Any] = []
        predictions: list[Prediction] = []
        prediction: str | None = None
        problem: HotSwapError | None = None
        model_seconds: float | None = None
        try:
            asked = codec.read(body, headers)
            request_id = asked.request_id or request_id
            self._check(asked.instances, codec)
            instances = asked.instances
            predictions, model_seconds = await self._predict(instances, receive, codec)
            latency_ms = _milliseconds_since(begun)
            answer, prediction = self._written(codec, asked, request_id, predictions, latency_ms)
        except HotSwapError as error:
            problem, predictions, latency_ms = error, [], _milliseconds_since(begun)
            status = status_of(problem)
            # What this version can't take another may: the stable is asked what a candidate refuses.
            marks = [*self.headers, _REFUSED] if status == BAD_REQUEST else self.headers
            answer = status, marks, codec.refuse(problem, request_id)
        if _BACKTEST in headers:
            return _with_time(answer, model_seconds)
        outcome, error_text = _outcome(problem, latency_ms, headers)
        kept = self._content.of(instances, prediction, request_id=request_id, is_batch=codec.is_batch)
        self._spool.write(
            encode_record(
                InferenceRecord(
                    record_id=f"{self._process}{next(self._record):016x}",
                    request_id=request_id,
                    environment=self.spec.environment,
                    model=self.spec.model,
                    version=self.spec.version,
                    deployment_id=self.spec.deployment_id,
                    application=self.spec.name,
                    arm=request_headers.arm(headers),
                    fallback_from=request_headers.fallback_from(headers),
                    chosen_by=request_headers.chosen_by(headers),
                    entity=request_headers.entity(headers, model=self.spec.model),
                    form=codec.kind,
                    tensors=asked.tensors if asked is not None else None,
                    attempt=request_headers.attempt(headers),
                    batch=codec.is_batch,
                    instances=len(instances),
                    features=kept.features,
                    withheld=kept.withheld,
                    prediction=kept.prediction,
                    confidence=predictions[0].confidence if len(predictions) == 1 else None,
                    latency_ms=latency_ms,
                    status=outcome,
                    error=error_text,
                    requested_at=requested_at,
                    completed_at=time.time(),
                )
            )
        )
        return answer

    def _check(self, instances: list[Any], codec: RequestCodec) -> None:
        if not 0 < len(instances) <= MOST_INSTANCES:
            raise ValidationFailed.of("instances", f"must be 1 to {MOST_INSTANCES}")
        for position, instance in enumerate(instances):
            self._schema.check_quickly(instance, codec.field(position))

    async def _predict(
        self, instances: list[Any], receive: Receive, codec: RequestCodec
    ) -> tuple[list[Prediction], float | None]:
        """Return the predictions and the model's seconds.

        The seconds are None where the model answered other requests at the same time.
        """
        try:
            if self._batcher is not None and len(instances) == 1:
                return [await unless_gone(self._batcher.add(instances[0]), receive)], None
            if self._pace.is_quick(instances):
                return self._timed(instances)
            # What still waits for the model's thread when its client leaves is never computed.
            return await unless_gone(self._aside(instances), receive)
        except (SchemaValidationFailed, ClientGone):
            raise
        except Exception as error:
            if isinstance(error, ArithmeticError):
                for position, instance in enumerate(instances):
                    self._schema.check(instance, codec.field(position))
            raise self._failed(error) from error

    def _written(
        self,
        codec: RequestCodec,
        asked: ParsedRequest,
        request_id: str,
        predictions: list[Prediction],
        latency_ms: float,
    ) -> tuple[ReplicaAnswer, str]:
        """Return the answer, and the predictions as its record keeps them.

        Raises InferenceFailed where they aren't finite numbers, unless the version was registered with such answers, or
        where they can't be written: an answer that no client can read is the model's failure.
        """
        if not self._allows_non_finite and (problem := next(filter(None, map(problem_of, predictions)), None)):
            raise self._failed(problem, f": {problem}")
        values = [row.value for row in predictions]
        try:
            answer = (200, *codec.answer(asked, request_id, predictions, latency_ms))
            return answer, to_json(values if codec.is_batch else values[0])
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: object, told: str = "") -> InferenceFailed:
        """Return the error for the client, who may know `told` of it; the log has the rest.

        The text of a model's error may quote features, so it is left out where some may not be recorded.
        """
        known = str(error)[:1000] if self._content.keeps_everything else told.removeprefix(": ") or type(error).__name__
        logger.warning("the model failed", extra={"model": self.spec.name, "error": known})
        return InferenceFailed(f"{self.spec.model} {self.spec.version} failed on this input{told}")

    def _one_for_each(self, instances: Sequence[Any]) -> list[Prediction]:
        try:
            predictions = self._model.predict(instances)
        except StopIteration as error:  # no future carries it: who awaits it would wait for ever
            raise RuntimeError("the model raised StopIteration") from error
        if len(predictions) != len(instances):
            raise ValueError(f"{len(predictions)} answers to {len(instances)} instances")
        return predictions

    async def _gathered(self, instances: list[Any]) -> list[Prediction]:
        """Predict a batch that was gathered from single requests."""
        predictions, _ = self._timed(instances) if self._pace.is_quick(instances) else await self._aside(instances)
        return predictions

    def _timed(self, instances: list[Any]) -> tuple[list[Prediction], float]:
        return self._pace.timed(self._one_for_each, instances)

    def _aside(self, instances: list[Any]) -> "asyncio.Future[tuple[list[Prediction], float]]":
        """Predict on the model's thread, while the event loop continues to answer."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._timed, instances)


def _with_time(answer: ReplicaAnswer, model_seconds: float | None) -> ReplicaAnswer:
    """Return the answer with a header that says how long the model took, if that is known."""
    if model_seconds is None:
        return answer
    status, headers, body = answer
    return status, [*headers, (_MODEL_SECONDS, f"{model_seconds:.9f}".encode())], body


def _milliseconds_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def _outcome(
    problem: HotSwapError | None, latency_ms: float, headers: RequestHeaders
) -> tuple[InferenceStatus, str | None]:
    """Return the record's status and error.

    An answer that comes after the proxy has given up reaches no client; another replica's may have.
    """
    if problem is not None:
        return InferenceStatus.FAILED, f"{problem.code}: {problem.message}"[:1000]
    awaited_ms = request_headers.awaited_ms(headers)
    if awaited_ms is not None and latency_ms > awaited_ms:
        return InferenceStatus.TIMEOUT, f"TIMEOUT: took {latency_ms:.0f} ms, and was awaited for {awaited_ms} ms"
    return InferenceStatus.COMPLETED, None
