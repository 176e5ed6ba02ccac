"""ONNX models by ONNX Runtime: on CUDA where the replica has a GPU and the runtime offers it, else on the CPU.

Two shapes of request: a graph with one input takes that input's value (a list for vectors, a bare value or an object of
one name for a column); one with several named inputs, such as a column each, takes an object. Two kinds of answer: a
classifier with a label and probabilities gives the label and its probability, anything else its first output.
"""

import math
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT
from serving.runtimes.tensors import TensorInput, graph_inputs, single

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": np.dtype(np.object_),
}
_ROUNDING = 0.01
"""The distance from 1 of a row's sum that is still a distribution: 16-bit floats, a forest's many small parts."""


def load(directory: Path, terms: Terms) -> "OnnxModel":
    """Load a model.

    Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded or served.
    """
    path = the_model(directory, ".onnx")
    options = ort.SessionOptions()
    # Replicas share a machine: each takes the threads that Ray gives it (OMP_NUM_THREADS), one unless told.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    options.inter_op_num_threads = 1
    # What goes wrong is raised; the runtime would print it as well, once for each request that a client can provoke.
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"] if terms.gpu else ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in ort.get_available_providers()]
    try:
        return OnnxModel(ort.InferenceSession(str(path), options, providers=providers), path)
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - the runtime raises what it likes on a hostile graph
        raise not_loaded(path, error) from None


class OnnxModel:
    def __init__(self, session: Any, path: Path) -> None:
        self._session = session
        self._inputs = graph_inputs([(node.name, _dtype(node), _shape(node)) for node in session.get_inputs()])
        self.inputs = self._inputs.tensors
        self._names = [node.name for node in session.get_inputs()]
        self.device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
        outputs = session.get_outputs()
        self.outputs = _known_output(outputs[0])
        self._outputs = [node.name for node in outputs[: 2 if _is_classifier(outputs) else 1]]
        self._positions: dict[Hashable, int] = {}
        if len(self._outputs) == 2 and outputs[1].type.startswith("tensor"):
            self._positions = _positions(path, outputs[0], outputs[1])
        self.input_schema = self._inputs.schema
        self.output_schema: dict[str, Any] = {
            **DIALECT,
            "title": "prediction",
            "description": ", ".join(f"{node.name}: {node.type} {node.shape}" for node in outputs),
        }

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return self._inputs.predict(instances, self._run)

    def _run(self, arrays: list[Any]) -> list[Prediction]:
        feeds = dict(zip(self._names, arrays, strict=True))
        values, *probabilities = (_as_list(output) for output in self._session.run(self._outputs, feeds))
        if not probabilities:
            return [Prediction(single(value), None) for value in values]
        rows = zip(map(single, values), probabilities[0], strict=True)
        return [Prediction(label, self._confidence(label, row)) for label, row in rows]

    def _confidence(self, label: Any, row: Any) -> float | None:
        """Return the label's own part of a distribution over the classes.

        It is None for a row that is no distribution, such as raw scores, and NaN where the row has NaN: then the label
        was not chosen by the row.
        """
        try:
            if isinstance(row, dict):
                found, total = row[label], sum(row.values())
            else:
                found, total = row[self._positions[label]], sum(row)
        except (KeyError, IndexError, TypeError):  # several labels a row, an unknown one, or one number for all classes
            return None
        if math.isnan(total):
            return math.nan
        if not (-_ROUNDING <= found <= 1 + _ROUNDING and -_ROUNDING <= total - 1 <= _ROUNDING):
            return None
        return 0.0 if found < 0 else 1.0 if found > 1 else found


def _dtype(node: Any) -> np.dtype[Any]:
    if node.type not in _DTYPES:
        raise ValidationFailed.of("artifactPath", f"the graph's input type {node.type} can't be sent as JSON")
    return _DTYPES[node.type]


def _known_output(node: Any) -> list[TensorInput]:
    """Return the tensor of the answers; None where it has no rows, or a type that only ONNX has."""
    if node.type not in _DTYPES or not node.shape:
        return []
    return [TensorInput(node.name, _DTYPES[node.type], tuple(_shape(node)[1:]))]


def _shape(node: Any) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in node.shape]


def _is_classifier(outputs: Sequence[Any]) -> bool:
    return len(outputs) > 1 and ("prob" in outputs[1].name.lower() or outputs[1].type.startswith("seq(map"))


def _positions(path: Path, labels: Any, probabilities: Any) -> dict[Hashable, int]:
    """Return the place of each label's probability in a row: by the graph's classes, or a label is its own position.

    The runtime doesn't show what is inside a graph. Exporters put the classes into the classifier's attributes, or into
    a table in which the position of the highest probability is looked up.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tables = {table.name: table for table in graph.initializer}
    named = [
        [each.decode() if isinstance(each, bytes) else each for each in attribute.strings or attribute.ints]
        for node in graph.node
        for attribute in node.attribute
        if attribute.name.startswith("classlabels_")
    ]
    named += [
        onnx.numpy_helper.to_array(tables[node.input[0]]).ravel().tolist()
        for node in graph.node
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in tables
    ]
    width = probabilities.shape[-1] if probabilities.shape else None
    if not isinstance(width, int):
        return {}
    classes = [each for each in named if len(each) == len(set(each)) == width]
    if not classes and "int" in labels.type:
        return {position: position for position in range(width)}
    return {label: position for position, label in enumerate(classes[-1])} if classes else {}


def _as_list(output: Any) -> Any:
    """Convert to plain Python: the rows of a tensor, or each entry of a sequence, one for each instance."""
    if isinstance(output, list):
        return [_as_list(each) for each in output]
    return output.tolist() if isinstance(output, np.ndarray | np.generic) else output
