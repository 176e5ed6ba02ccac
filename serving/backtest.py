"""Asks replicas again what clients have asked, on the replicas' own ports: implements `hotswap.ports.ReplicaAsker`.

Each request is spelled as its client spelled it, as far as its record tells, and marked, so that the replica keeps no
record of it. Past Envoy it is in no count either. A reply names the field that a refusal is about and never its value.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from hotswap.domain.backtest import RecordedRequest, Reply, ReplyKind
from hotswap.domain.errors import Unavailable
from hotswap.domain.headers import BACKTEST_HEADER, MODEL_SECONDS_HEADER
from hotswap.domain.vocabulary import RequestForm
from hotswap.process.plain_http import plain_client
from serving.open_inference.signature import CONFIDENCE
from serving.open_inference.tensors import BYTES

HEADERS = {"content-type": "application/json", BACKTEST_HEADER: "1"}
MOST_FIELD = 100

_NOBODY = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_THE_REQUESTS_FAULT = frozenset({404, 405, 408, 429})
"""Statuses of 4xx that are not the request's fault: the replica doesn't know the path, or has no time. A client whose
request was answered isn't told so.
"""

_IDLE_SECONDS = 2.0
"""Shorter than a replica keeps a silent connection, so that none breaks under a request."""

_FIELD_FIRST = re.compile(r"^((?:row \d+)?[\w.\[\]-]*)(?:: | doesn't fit)")
"""The beginning of a refusal of `/v2`, which has no details."""
_OUTPUT = re.compile(r"^outputs\[(\d+)\]\.name$")
_POSITION = re.compile(r"^(?:row \d+|instances\[\d+\])")


class HttpReplicaAsker:
    """`timeout` is how long a replica may take: longer is its failure, as it is for clients."""

    def __init__(self, *, timeout: timedelta, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._timeout = timeout.total_seconds()
        limits = httpx.Limits(keepalive_expiry=_IDLE_SECONDS)
        self._http = plain_client(timeout=self._timeout, limits=limits, transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        path, body = _spelled(request, model)
        url = f"http://{target}/{application}{path}"
        begun = time.perf_counter()
        try:
            answer = await self._http.post(url, content=body, headers=HEADERS)
        except _NOBODY as error:
            raise Unavailable(f"no replica of {application} answers at {target}: {error}") from error
        except httpx.TimeoutException:
            return _failed(begun, f"no answer within {self._timeout:g} s")
        except httpx.HTTPError:
            return _failed(begun, "the connection broke")
        seconds = time.perf_counter() - begun
        status = answer.status_code
        if status == httpx.codes.OK:
            try:
                reply = _answered(request, path, answer.content, seconds)
                return replace(reply, model_seconds=_seconds(answer.headers.get(MODEL_SECONDS_HEADER)))
            except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
                return Reply(ReplyKind.FAILED, seconds, problem="an answer that nobody can read")
        if answer.is_client_error and status not in _NOT_THE_REQUESTS_FAULT:
            return Reply(ReplyKind.REFUSED, seconds, field=_field(request, answer.content), problem=str(status))
        is_the_models = status == httpx.codes.INTERNAL_SERVER_ERROR
        return Reply(ReplyKind.FAILED, seconds, problem=str(status), certain=is_the_models)


def _seconds(told: str | None) -> float | None:
    """Parse seconds. Raises ValueError for what is no time."""
    if told is None:
        return None
    seconds = float(told)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{told} is no time")
    return seconds


def _failed(begun: float, problem: str) -> Reply:
    return Reply(ReplyKind.FAILED, time.perf_counter() - begun, problem=problem, certain=False)


def _spelled(request: RecordedRequest, model: str) -> tuple[str, bytes]:
    """Return the path below the application, and the body."""
    root = f"/api/v1/inference/{model}"
    if request.form is RequestForm.INSTANCE:
        return root, msgspec.json.encode({"features": request.instances[0]})
    if request.form is RequestForm.TENSORS and (inputs := _tensors(request)) is not None:
        body: dict[str, Any] = {"inputs": inputs}
        if request.outputs:
            body["outputs"] = [{"name": name} for name in request.outputs]
        return f"/v2/models/{model}/infer", msgspec.json.encode(body)
    return f"{root}/batch", msgspec.json.encode({"instances": request.instances})


def _tensors(request: RecordedRequest) -> list[dict[str, Any]] | None:
    """Return the tensors as they came, from the instances that were made of them.

    Return None where that is impossible: a missing value in a binary tensor has no spelling in a tensor of JSON.
    """
    named = all(
        isinstance(each, dict) and all(spec.name in each for spec in request.inputs) for each in request.instances
    )
    if not named and len(request.inputs) != 1:
        return None
    found = []
    for spec in request.inputs:
        elements = _flat([each[spec.name] for each in request.instances] if named else request.instances)
        is_whole = len(elements) == math.prod(spec.shape) and not any(
            isinstance(each, dict) or each is None or isinstance(each, str) is not (spec.datatype == BYTES)
            for each in elements
        )
        if not is_whole:
            return None
        found.append({"name": spec.name, "datatype": spec.datatype, "shape": spec.shape, "data": elements})
    return found


def _flat(values: Sequence[Any]) -> list[Any]:
    return [leaf for each in values for leaf in (_flat(each) if isinstance(each, list) else [each])]


def _answered(request: RecordedRequest, path: str, content: bytes, seconds: float) -> Reply:
    """Return the answer. Raises the error that shows that it is none."""
    told = msgspec.json.decode(content)
    if path.endswith("/infer"):
        return Reply(ReplyKind.ANSWERED, seconds, _rows(told["outputs"]))
    if path.endswith("/batch"):
        return Reply(ReplyKind.ANSWERED, seconds, tuple(each["prediction"] for each in told["predictions"]))
    return Reply(ReplyKind.ANSWERED, seconds, (told["prediction"],), told["confidence"])


def _rows(outputs: Sequence[dict[str, Any]]) -> tuple[Any, ...] | None:
    """Return the predictions, one row each of the one output that holds them; None where several outputs might."""
    holding = [each for each in outputs if each["name"] != CONFIDENCE]
    if len(holding) != 1:
        return None
    shape, elements = holding[0]["shape"], _flat(holding[0]["data"])
    if len(elements) != math.prod(shape):
        raise ValueError(f"{len(elements)} elements are no tensor of {shape}")
    if holding[0]["datatype"] == BYTES:
        elements = [_from_text(each) for each in elements]
    return tuple(_nested(elements, shape))


def _nested(elements: list[Any], shape: Sequence[int]) -> list[Any]:
    if len(shape) <= 1:
        return elements
    size = len(elements) // shape[0] if shape[0] else 0
    return [_nested(elements[start : start + size], shape[1:]) for start in range(0, size * shape[0], size)]


def _from_text(element: str) -> Any:
    """Parse an element of a text tensor: a value that is no tensor is written there as JSON."""
    if not element.startswith(("{", "[")):
        return element
    try:
        return msgspec.json.decode(element)
    except msgspec.MsgspecError:
        return element


def _field(request: RecordedRequest, content: bytes) -> str | None:
    """Return the field that a refusal names, without the position of its row."""
    try:
        error = msgspec.json.decode(content)["error"]
        if isinstance(error, str):
            found = _FIELD_FIRST.match(error)
            named = found[1] if found is not None else ""
        else:
            named = error["details"][0]["field"] if error["details"] else ""
    except (msgspec.MsgspecError, LookupError, TypeError):
        return None
    if (output := _OUTPUT.match(named)) is not None and int(output[1]) < len(request.outputs):
        return f"outputs.{request.outputs[int(output[1])]}"
    return _POSITION.sub("features", named)[:MOST_FIELD] or None
