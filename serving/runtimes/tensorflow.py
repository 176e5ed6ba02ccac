"""TensorFlow's SavedModels by their signature, on CUDA where the replica has a GPU and the build can.

A signature with several outputs answers the first by name.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what goes wrong is raised; it is read at the import

import tensorflow as tf

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT
from serving.runtimes.saved_models import refuse_dangers
from serving.runtimes.tensors import graph_inputs, single


def load(directory: Path, terms: Terms) -> "TensorFlowModel":
    """Load a model.

    Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded or served.
    """
    path = the_model(directory, "saved_model.pb")
    _configure(gpu=terms.gpu)
    try:
        refuse_dangers(path)
        return TensorFlowModel(tf.saved_model.load(str(path.parent)))
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes it raise
        raise not_loaded(path, error) from None


class TensorFlowModel:
    def __init__(self, module: Any) -> None:
        self._module = module  # its variables live as long as it does
        self._signature = _signature(module.signatures)
        _, takes = self._signature.structured_input_signature
        self._names = sorted(takes)
        self._inputs = graph_inputs([(name, _dtype(takes[name]), _shape(takes[name])) for name in self._names])
        self.inputs = self._inputs.tensors
        self._output = sorted(self._signature.structured_outputs)[0]
        self.device = "cuda" if tf.config.get_visible_devices("GPU") else "cpu"
        self.input_schema = self._inputs.schema
        self.output_schema: dict[str, Any] = {
            **DIALECT,
            "title": "prediction",
            "description": f"{self._output}: {self._signature.structured_outputs[self._output]}",
        }

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return self._inputs.predict(instances, self._run)

    def _run(self, arrays: list[Any]) -> list[Prediction]:
        feeds = {name: tf.constant(array) for name, array in zip(self._names, arrays, strict=True)}
        return [Prediction(single(_plain(value)), None) for value in self._signature(**feeds)[self._output].numpy()]


def _configure(*, gpu: bool) -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if not gpu:
            tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        pass  # this process has run a graph before, with these


def _signature(signatures: Any) -> Any:
    names = list(signatures)
    if "serving_default" not in names and len(names) != 1:
        raise ValidationFailed.of(
            "artifactPath", f"the SavedModel needs a signature serving_default, or only one; it has {names}"
        )
    return signatures["serving_default" if "serving_default" in names else names[0]]


def _dtype(spec: Any) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(spec.dtype.as_numpy_dtype)
    if kind.kind not in "fiubO":
        raise ValidationFailed.of("artifactPath", f"the graph's input {spec.name} can't be sent as JSON: {spec.dtype}")
    return kind


def _shape(spec: Any) -> list[int | None]:
    if spec.shape.rank is None:
        raise ValidationFailed.of("artifactPath", f"the graph's input {spec.name} has no known rank; export with one")
    return list(spec.shape.as_list())


def _plain(value: Any) -> Any:
    found = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return _text(found)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
