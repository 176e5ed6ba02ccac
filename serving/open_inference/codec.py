"""A request of the protocol and its answer, and what it tells of the model."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.errors import HotSwapError, ValidationFailed
from hotswap.domain.vocabulary import RequestForm
from hotswap.inference.records import to_json
from serving.codecs import ParsedRequest, RawHeaders, RequestHeaders, decoded, json_headers
from serving.open_inference import tensors
from serving.open_inference.signature import Arrays, Signature
from serving.runtimes import LoadedModel, Prediction

JSON_LENGTH = b"inference-header-content-length"
"""The length of the JSON in a body; what follows are binary tensors."""

MOST_ID = 128

Parameters = dict[str, Any]


class Resource(StrEnum):
    """The resource of a model, by the end of its path."""

    METADATA = ""
    READY = "/ready"
    INFER = "/infer"


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: Any = None


class _Output(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class _Request(msgspec.Struct):
    """A request; all further fields are another server's extensions, and mean nothing here."""

    inputs: list[_Input]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[_Output] | None = None

    @property
    def binary(self) -> bool:
        return (self.parameters or {}).get("binary_data_output") is True


class _AskedTensors(ParsedRequest, kw_only=True):
    wanted: dict[str, bool]
    """The names of the outputs that are to be answered, none for all of them, and whether each shall be binary."""
    binary: bool
    """True if outputs that are not named shall be binary."""


class OpenInference:
    """The form of `/v2/models/{model}`, by path with the version or without."""

    kind = RequestForm.TENSORS
    name = "tensors of the Open Inference Protocol"
    is_batch = True

    def __init__(self, spec: ApplicationSpec, model: LoadedModel) -> None:
        self._spec = spec
        self._signature = Signature(model, spec.input_schema)
        self._device = model.device
        root = f"/{spec.name}/v2/models/{spec.model}"
        places = (root, f"{root}/versions/{spec.version}")
        self._resources = {f"{place}{resource}": resource for place in places for resource in Resource}
        self._json = json_headers(spec)
        self._octets = [(b"content-type", b"application/octet-stream"), *self._json[1:]]

    def resource(self, path: str) -> Resource | None:
        return self._resources.get(path)

    def learn(self, predictions: Sequence[Prediction]) -> None:
        self._signature.learn(predictions)

    def describe(self, resource: Resource) -> bytes | None:
        """Describe a resource; None where there is nothing to describe."""
        match resource:
            case Resource.READY:
                return msgspec.json.encode({"name": self._spec.model, "ready": True})
            case Resource.METADATA:
                return msgspec.json.encode(
                    {
                        "name": self._spec.model,
                        "versions": [self._spec.version],
                        "platform": self._spec.framework.lower(),
                        "inputs": self._signature.inputs,
                        "outputs": self._signature.outputs,
                        "properties": {"device": self._device},
                    }
                )
        return None

    def read(self, body: bytes, headers: RequestHeaders) -> ParsedRequest:
        text, binary = _parted(body, headers.get(JSON_LENGTH))
        request = decoded(text, _Request)
        self._signature.check_number(len(request.inputs))
        arrays = _arrays(request.inputs, binary)
        return _AskedTensors(
            instances=self._signature.instances(arrays),
            request_id=_checked_id(request.id),
            tensors=_description(request),
            wanted=self._wanted(request),
            binary=request.binary,
        )

    def field(self, position: int) -> str:
        return f"row {position}"

    def answer(
        self, asked: ParsedRequest, request_id: str, predictions: Sequence[Prediction], latency_ms: float
    ) -> tuple[RawHeaders, bytes]:
        assert isinstance(asked, _AskedTensors)
        found = self._signature.answered(predictions)
        outputs, binary = _written(found, asked)
        head = msgspec.json.encode(
            {
                "model_name": self._spec.model,
                "model_version": self._spec.version,
                "id": request_id,
                "outputs": outputs,
            }
        )
        if not binary:
            return self._json, head
        return [*self._octets, (JSON_LENGTH, str(len(head)).encode())], b"".join([head, *binary])

    def refuse(self, error: HotSwapError, request_id: str) -> bytes:
        return msgspec.json.encode({"error": error.message})

    def rehearsals(self) -> list[ParsedRequest]:
        """Return requests for every output that the model is said to have, as JSON and binary."""
        names = [each.name for each in self._signature.outputs]
        return [_AskedTensors([], wanted=dict.fromkeys(names, binary), binary=binary) for binary in (False, True)]

    def _wanted(self, request: _Request) -> dict[str, bool]:
        known = {each.name for each in self._signature.outputs}
        wanted = {}
        for position, output in enumerate(request.outputs or ()):
            parameters = output.parameters or {}
            if output.name not in known:
                raise ValidationFailed.of(
                    f"outputs[{position}].name", f"the model answers {', '.join(sorted(known))}, no {output.name[:50]}"
                )
            if "classification" in parameters:
                raise ValidationFailed.of(f"outputs[{position}].parameters", "classification is not offered here")
            wanted[output.name] = bool(parameters.get("binary_data", request.binary))
        return wanted


def _description(request: _Request) -> str:
    """Describe the tensors of a request and the outputs that it names, without any element."""
    inputs = [{"name": each.name, "datatype": each.datatype, "shape": each.shape} for each in request.inputs]
    outputs = [each.name for each in request.outputs or ()]
    return to_json({"inputs": inputs, "outputs": outputs} if outputs else {"inputs": inputs})


def _parted(body: bytes, length: bytes | None) -> tuple[memoryview, memoryview]:
    """Split a body into its JSON and the bytes behind it."""
    whole = memoryview(body)
    if length is None:
        return whole, whole[len(whole) :]
    if not (length.isdigit() and len(length) < 12 and int(length) <= len(whole)):
        raise ValidationFailed.of("Inference-Header-Content-Length", "must be the length of the JSON within the body")
    return whole[: int(length)], whole[int(length) :]


def _arrays(inputs: list[_Input], binary: memoryview) -> Arrays:
    found, at = {}, 0
    for position, given in enumerate(inputs):
        field = f"inputs[{position}]"
        if given.name in found:
            raise ValidationFailed.of(f"{field}.name", f"there are two tensors {given.name[:50]}")
        tensors.check_shape(given.shape, field)
        size = (given.parameters or {}).get("binary_data_size")
        if size is None:
            found[given.name] = tensors.from_json(given.data, given.datatype, given.shape, field)
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - at:
            raise ValidationFailed.of(
                f"{field}.parameters.binary_data_size", f"must be bytes behind the JSON; there are {len(binary) - at}"
            )
        found[given.name] = tensors.from_bytes(binary[at : at + size], given.datatype, given.shape, field)
        at += size
    if at != len(binary):
        raise ValidationFailed.of("inputs", f"{len(binary) - at} bytes behind the JSON belong to none of them")
    return found


def _written(found: Arrays, asked: _AskedTensors) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Write the requested outputs in the requested order, and return them with the bytes of the binary ones."""
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name in asked.wanted or found:
        array = found[name]
        output: dict[str, Any] = {"name": name, "datatype": tensors.DATATYPES[array.dtype], "shape": array.shape}
        if asked.wanted.get(name, asked.binary):
            binary.append(tensors.to_bytes(array))
            output["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            output["data"] = array.ravel().tolist()
        outputs.append(output)
    return outputs, binary


def _checked_id(given: str | None) -> str | None:
    """Check the request's id, which becomes its record's: outcomes are reported by it."""
    if not given:
        return None
    if len(given) > MOST_ID or not (given.isascii() and given.isprintable()):
        raise ValidationFailed.of("id", f"must be at most {MOST_ID} printable characters of ASCII")
    return given
