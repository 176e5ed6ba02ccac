"""The codecs of inference: the forms in which requests and answers are written.

This module has the two of `/api/v1`: one instance, and a batch. That of `/v2` is in `serving/open_inference`. A codec
only reads and writes; the check against the schema, the prediction and the record are the same for all
(`serving/engine.py`).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.errors import Conflict, HotSwapError, ValidationFailed
from hotswap.domain.errors import FieldProblem as Problem
from hotswap.domain.headers import VERSION_HEADER
from hotswap.domain.vocabulary import RequestForm
from serving.runtimes import Prediction

DecodedBody = TypeVar("DecodedBody")
RequestHeaders = Mapping[bytes, bytes]
RawHeaders = list[tuple[bytes, bytes]]

MOST_INSTANCES = 10_000
"""The most instances of one request."""
MOST_BODY_BYTES = 10 * 1024**2

_NO_NUMBER = re.compile(rb"[\[:,]\s*-?(NaN|Infinity)\b")
_NAMED_FIELD = re.compile(r"field `([^`]*)`")
"""The form in which msgspec names a key that is missing or unknown."""


class ParsedRequest(msgspec.Struct):
    """A parsed request; with `request_id` if its body names one.

    `tensors`, if it was written in tensors, is what its record says of them without their elements, as JSON:
    `{"inputs": [{"name", "datatype", "shape"}], "outputs": [names]}`; without `outputs` it named none.
    """

    instances: list[Any]
    request_id: str | None = None
    tensors: str | None = None


class RequestCodec(Protocol):
    kind: RequestForm
    name: str
    """The name in messages."""
    is_batch: bool
    """True if features and predictions are recorded as lists, one of each instance."""

    def read(self, body: bytes, headers: RequestHeaders) -> ParsedRequest:
        """Read the instances, unchecked against the schema. Raises ValidationFailed or Conflict."""
        ...

    def field(self, position: int) -> str:
        """Return the name by which the client knows an instance."""
        ...

    def answer(
        self, asked: ParsedRequest, request_id: str, predictions: Sequence[Prediction], latency_ms: float
    ) -> tuple[RawHeaders, bytes]:
        """Write one prediction for each instance, in their order."""
        ...

    def refuse(self, error: HotSwapError, request_id: str) -> bytes:
        """Write an error in this form, as JSON."""
        ...

    def rehearsals(self) -> list[ParsedRequest]:
        """Return requests for which `answer` writes everything that this form can answer."""
        ...


class _One(msgspec.Struct, forbid_unknown_fields=True):
    features: Any
    version: str | None = None


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    instances: list[Any]
    version: str | None = None


class _Json:
    """The common part of both forms of `/api/v1`."""

    def __init__(self, spec: ApplicationSpec) -> None:
        self._spec = spec
        self._headers = json_headers(spec)

    def refuse(self, error: HotSwapError, request_id: str) -> bytes:
        return error_body(error, request_id)

    def rehearsals(self) -> list[ParsedRequest]:
        return [ParsedRequest([])]

    def _check_version(self, asked: str | None) -> None:
        own = self._spec.version
        if asked is not None and asked != own:
            raise Conflict(
                f"this replica serves version {own}, not {asked}; "
                "the header X-HotSwap-Version chooses another version that is up",
                Problem("version", f"{own} would answer"),
            )


class OneInstance(_Json):
    """`{"features": ...}`."""

    kind = RequestForm.INSTANCE
    name = "one prediction"
    is_batch = False

    def read(self, body: bytes, headers: RequestHeaders) -> ParsedRequest:
        request = decoded(body, _One)
        self._check_version(request.version)
        return ParsedRequest([request.features])

    def field(self, position: int) -> str:
        return "features"

    def answer(
        self, asked: ParsedRequest, request_id: str, predictions: Sequence[Prediction], latency_ms: float
    ) -> tuple[RawHeaders, bytes]:
        answer = {
            "requestId": request_id,
            "modelName": self._spec.model,
            "version": self._spec.version,
            "prediction": predictions[0].value,
            "confidence": predictions[0].confidence,
            "latencyMs": latency_ms,
            "timestamp": datetime.now(UTC),
        }
        return self._headers, msgspec.json.encode(answer)


class Batch(_Json):
    """`{"instances": [...]}`."""

    kind = RequestForm.BATCH
    name = "a batch"
    is_batch = True

    def read(self, body: bytes, headers: RequestHeaders) -> ParsedRequest:
        request = decoded(body, _Batch)
        self._check_version(request.version)
        return ParsedRequest(request.instances)

    def field(self, position: int) -> str:
        return f"instances[{position}]"

    def answer(
        self, asked: ParsedRequest, request_id: str, predictions: Sequence[Prediction], latency_ms: float
    ) -> tuple[RawHeaders, bytes]:
        answer = {
            "requestId": request_id,
            "modelName": self._spec.model,
            "version": self._spec.version,
            "predictions": [{"prediction": row.value, "confidence": row.confidence} for row in predictions],
            "totalLatencyMs": latency_ms,
        }
        return self._headers, msgspec.json.encode(answer)


def json_headers(spec: ApplicationSpec) -> RawHeaders:
    return [(b"content-type", b"application/json"), (VERSION_HEADER.encode(), spec.version.encode())]


def decoded(body: bytes | memoryview, kind: type[DecodedBody]) -> DecodedBody:
    """Decode JSON. Raises ValidationFailed with the path of what doesn't fit."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        named = _NAMED_FIELD.search(message)
        raise ValidationFailed.of(path.rstrip("`") or (named[1] if named else "body"), message) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValidationFailed.of("body", f"not JSON: {error}{_advice(bytes(body))}") from None


def _advice(body: bytes) -> str:
    """Return what to write instead of an invalid spelling that some JSON writers produce."""
    if body.startswith(b"\xef\xbb\xbf"):
        return "; it begins with a byte order mark, which JSON doesn't have: leave it out"
    return "; JSON has no NaN and no Infinity: write null" if _NO_NUMBER.search(body) else ""


def error_body(error: HotSwapError, trace_id: str) -> bytes:
    return msgspec.json.encode(
        {
            "error": {
                "code": error.code,
                "message": error.message,
                "details": [{"field": problem.field, "message": problem.message} for problem in error.details],
                "traceId": trace_id,
                "timestamp": datetime.now(UTC),
            }
        }
    )
