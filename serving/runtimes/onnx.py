"""ONNX models by ONNX Runtime: on CUDA where the replica has a GPU and the runtime offers it, else on the CPU.

Two shapes of request: a model with one input of vectors takes a list of numbers; one with several named inputs takes an
object. Two kinds of answer: a classifier with a label and probabilities gives label and confidence, anything else its
first output.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction

_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.str_,
}


def load(directory: Path, *, gpu: bool) -> "OnnxModel":
    """Raises ValidationFailed naming `artifactPath` when there is no model or it can't be loaded."""
    files = sorted(directory.rglob("*.onnx"))
    if len(files) != 1:
        raise ValidationFailed.of("artifactPath", f"the archive must hold one .onnx file; it holds {len(files)}")
    options = ort.SessionOptions()
    # Replicas share a machine: each takes the threads that Ray gives it (OMP_NUM_THREADS), one unless told.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    options.inter_op_num_threads = 1
    # What goes wrong is raised; the runtime would print it as well, once for each request that a client can provoke.
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in ort.get_available_providers()]
    try:
        return OnnxModel(ort.InferenceSession(str(files[0]), options, providers=providers))
    except Exception as error:  # noqa: BLE001 - the runtime raises what it likes on a hostile graph
        raise ValidationFailed.of("artifactPath", f"{files[0].name} can't be loaded: {str(error)[:500]}") from None


class OnnxModel:
    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        unknown = [node.type for node in self._inputs if node.type not in _NUMPY]
        if unknown:
            raise ValidationFailed.of("artifactPath", f"the graph's input type {unknown[0]} can't be sent as JSON")
        self._is_vector = len(self._inputs) == 1
        self.input_schema = self._schema_of_inputs()
        self._label, self._probabilities = self._outputs()
        self.output_schema: dict[str, Any] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "prediction",
            "description": ", ".join(f"{node.name}: {node.type} {node.shape}" for node in session.get_outputs()),
        }

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        feeds = {}
        for position, node in enumerate(self._inputs):
            rows = instances if self._is_vector else [instance[node.name] for instance in instances]
            values: Any = np.asarray(rows, dtype=_NUMPY[node.type])
            feeds[self._inputs[position].name] = values if values.ndim > 1 else values.reshape(-1, 1)
        outputs = [self._label] if self._probabilities is None else [self._label, self._probabilities]
        results = self._session.run(outputs, feeds)
        labels = [value.tolist() if isinstance(value, np.ndarray) else value for value in np.asarray(results[0])]
        labels = [value.item() if isinstance(value, np.generic) else value for value in labels]
        if self._probabilities is None:
            return [Prediction(_single(label), None) for label in labels]
        return [Prediction(_single(label), _best(row)) for label, row in zip(labels, results[1], strict=True)]

    def _schema_of_inputs(self) -> dict[str, Any]:
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        if self._is_vector:
            return head | _schema_of(self._inputs[0])
        properties = {node.name: _schema_of(node) for node in self._inputs}
        return head | {
            "type": "object",
            "properties": properties,
            "required": [node.name for node in self._inputs],
            "additionalProperties": False,
        }

    def _outputs(self) -> tuple[str, str | None]:
        """The names of the output to answer with, and of the one with probabilities if this is a classifier."""
        nodes = self._session.get_outputs()
        if len(nodes) >= 2 and ("prob" in nodes[1].name.lower() or nodes[1].type.startswith("seq(map")):
            return nodes[0].name, nodes[1].name
        return nodes[0].name, None


def _schema_of(node: Any) -> dict[str, Any]:
    """JSON Schema of one instance: the first dimension is the batch, unnamed sizes are free."""
    item: dict[str, Any] = {"type": "number"}
    if node.type == "tensor(string)":
        item = {"type": "string"}
    elif node.type == "tensor(bool)":
        item = {"type": "boolean"}
    elif "int" in node.type:
        item = {"type": "integer"}
    sizes = list(node.shape[1:])
    if sizes == [1]:
        # A column of its own: a bare value is what people send.
        return item
    for size in reversed(sizes):
        bounds = {"minItems": size, "maxItems": size} if isinstance(size, int) else {}
        item = {"type": "array", "items": item, **bounds}
    return item


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _best(row: Any) -> float:
    values = row.values() if isinstance(row, dict) else row
    return float(max(values))
