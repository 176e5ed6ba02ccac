"""PyTorch models as graphs: `torch.export` (`.pt2`) or TorchScript (`.pt`), on CUDA where the replica has a GPU.

A `.pt2` knows the shapes that it takes. A TorchScript doesn't: it takes one tensor of 32-bit floats of whatever shape
its code takes, unless what lies beside it says more (`Terms.takes`). The answer is an instance's part of the first
output.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT
from serving.runtimes.tensors import TensorInput, TensorInputs, graph_inputs, single
from serving.runtimes.torch_archives import refuse_what_is_no_graph, refuse_what_is_no_script

_DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.float16: np.dtype(np.float16),
    torch.int64: np.dtype(np.int64),
    torch.int32: np.dtype(np.int32),
    torch.int16: np.dtype(np.int16),
    torch.int8: np.dtype(np.int8),
    torch.uint8: np.dtype(np.uint8),
    torch.bool: np.dtype(np.bool_),
}


def load(directory: Path, terms: Terms) -> "TorchModel":
    """Load a model.

    Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded or served.
    """
    path = the_model(directory, ".pt2", ".pt", ".pth")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    device = "cuda" if terms.gpu and torch.cuda.is_available() else "cpu"
    try:
        return _exported(path, device) if path.suffix == ".pt2" else _script(path, device, terms)
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes it raise
        raise not_loaded(path, error) from None


def _exported(path: Path, device: str) -> "TorchModel":
    refuse_what_is_no_graph(path)
    program = torch.export.load(path)
    nodes = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    inputs = graph_inputs(
        [(name, _dtype(nodes[name]), _shape(nodes[name])) for name in program.graph_signature.user_inputs]
    )
    if device != "cpu":
        program = move_to_device_pass(program, device)
    # Guards are Python of the artifact's; what they check, the schema does.
    return TorchModel(program.module(check_guards=False), inputs, device, "torch.export")


def _script(path: Path, device: str, terms: Terms) -> "TorchModel":
    refuse_what_is_no_script(path)
    module = torch.jit.load(path, map_location=device).eval()
    inputs = terms.takes or TensorInputs((TensorInput("input", np.dtype(np.float32), None),))
    return TorchModel(module, inputs, device, "TorchScript")


class TorchModel:
    def __init__(self, module: Any, inputs: TensorInputs, device: str, kind: str) -> None:
        self._module = module
        self._inputs = inputs
        if all(each.sizes is not None for each in inputs.tensors):
            self.inputs = inputs.tensors
        self.device = device
        self.input_schema = inputs.schema
        self.output_schema: dict[str, Any] = {**DIALECT, "title": "prediction", "description": kind}

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return self._inputs.predict(instances, self._run)

    def _run(self, arrays: list[Any]) -> list[Prediction]:
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(each).to(self.device) for each in arrays))
        while not isinstance(found, torch.Tensor):
            found = next(iter(found.values() if isinstance(found, dict) else found))
        return [Prediction(single(value), None) for value in found.tolist()]


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, torch.Tensor) or value.dtype not in _DTYPES:
        raise ValidationFailed.of("artifactPath", f"the graph takes {value!r:.80}, which can't be sent as JSON")
    return _DTYPES[value.dtype]


def _shape(value: torch.Tensor) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in value.shape]
