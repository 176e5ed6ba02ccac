"""Check of TensorFlow's SavedModels before TensorFlow loads them, since it trusts them.

A SavedModel is a graph of TensorFlow's operations, and some of these read or write files or call into Python. A model
with such operations is refused, and of operations with effects all but those that models are known to need. The
operations by which TensorFlow itself saves and restores the variables are let be, as long as nothing else runs them.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from hotswap.domain.errors import ValidationFailed

_REFUSED = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|InitializeTableFromTextFile|LoadAndRemapMatrix|(Eager)?PyFunc\w*|Debug\w*"
    r"|Copy|CopyHost|\w*Dataset\w*|\w*Reader\w*|(En|De)codeProto\w*|XlaCustomCall\w*"
)
"""Read or write files, or call what is no operation; TensorFlow says of some that they have no state."""
_STATEFUL = re.compile(
    r"VarHandleOp|(Read|Assign|AssignAdd|AssignSub)VariableOp|Var(iable|iableV2|IsInitializedOp|iableShape)"
    r"|TemporaryVariable|DestroyTemporaryVariable|DestroyResourceOp|DisableCopyOnRead|GuaranteeConst|Empty"
    r"|Resource(Gather|Scatter|Apply|SparseApply|StridedSliceAssign)\w*"
    r"|(Anonymous)?(Mutable|MutableDense)?HashTable(OfTensors)?(V2)?|InitializeTableV2"
    r"|LookupTable(Find|Import|Insert|Remove|Size|Export)V2"
    r"|StatefulPartitionedCall|If|Case|While|Assert|CheckNumerics(V2)?|DeviceIndex"
    r"|Random(Uniform|UniformInt|StandardNormal|Gamma|Poisson|PoissonV2|Shuffle|Crop)|(Parameterized)?TruncatedNormal"
    r"|Multinomial|Stateful(Uniform|UniformInt|UniformFullInt|StandardNormal|StandardNormalV2|TruncatedNormal)"
    r"|StatefulRandomBinomial|StatelessRandomGetAlg|NonDeterministicInts|RngSkip|RngReadAndSkip"
    r"|\w+CandidateSampler|SampleDistortedBoundingBox(V2)?|TensorArray\w*|Stack(Push|Pop|Close)?V2|CudnnRNN\w*"
)
"""Operations for the state that models hold: variables, tables, chance, loops. Others with effects are refused."""
_SAVES = frozenset({"Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"})
_ITS_OWN = _SAVES | {"Restore", "RestoreV2", "RestoreSlice"}
"""Operations by which SavedModels write and read their variables; signatures and initializers must not have them."""


def refuse_dangers(path: Path) -> None:
    """Raise ValidationFailed naming `artifactPath` and the dangerous operation, if there is one."""
    saved = SavedModel.FromString(path.read_bytes())
    for meta in saved.meta_graphs:
        graph = _Graph(meta.graph_def)
        _refuse(path, graph.dangers())
        restores = graph.reached([meta.saver_def.restore_op_name])
        _refuse(path, (node for node in restores if node.op in _SAVES))
        saver = graph.reached([meta.saver_def.restore_op_name, meta.saver_def.save_tensor_name])
        others = graph.functions.keys() - {name for node in saver for name in graph.calls(node)}
        runs = graph.reached(_run_by_name(meta), {*others, *_named_by_objects(meta.object_graph_def)})
        _refuse(path, (node for node in runs if node.op in _ITS_OWN))


def _refuse(path: Path, dangers: Iterator[Any]) -> None:
    found = next(dangers, None)
    if found is not None:
        raise ValidationFailed.of(
            "artifactPath", f"{path.name} has the operation {found.op} ({found.name}), which is not allowed in a model"
        )


def _run_by_name(meta: Any) -> Iterator[str]:
    """Return what a load or a request runs: signatures, and TensorFlow 1's collections, such as `main_op`."""
    for signature in meta.signature_def.values():
        for output in signature.outputs.values():
            yield from _tensors(output)
    for collection in meta.collection_def.values():
        yield from collection.node_list.value


def _tensors(output: Any) -> Iterator[str]:
    """Return the tensors of an output: a sparse or ragged one has several."""
    sparse = output.coo_sparse
    yield from (output.name, sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    for component in output.composite_tensor.components:
        yield from _tensors(component)


def _named_by_objects(objects: Any) -> Iterator[str]:
    """Return the functions of TensorFlow 2's objects, including those that set up resources at the load."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


class _Graph:
    def __init__(self, graph: Any) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.functions: dict[str, list[Any]] = {}
        for each in graph.library.function:  # two of one name are looked at both
            self.functions.setdefault(each.signature.name, []).extend(each.node_def)
        self._every = [*graph.node, *chain.from_iterable(self.functions.values())]

    def dangers(self) -> Iterator[Any]:
        return (node for node in self._every if self._is_danger(node.op))

    def _is_danger(self, operation: str) -> bool:
        known = op_def_registry.get(operation)
        if known is None:
            return operation not in self.functions
        if _REFUSED.fullmatch(operation) is not None:
            return True
        return known.is_stateful and operation not in _ITS_OWN and _STATEFUL.fullmatch(operation) is None

    def reached(self, names: Iterable[str], functions: Iterable[str] = ()) -> list[Any]:
        """Return the nodes of these functions, including those of all functions that they call."""
        found: list[Any] = []
        waiting, called = list(names), list(functions)
        seen: set[str] = set()
        while waiting:
            name = waiting.pop().lstrip("^").partition(":")[0]
            if name not in seen and name in self.nodes:
                seen.add(name)
                found.append(self.nodes[name])
                waiting += self.nodes[name].input
                called += self.calls(self.nodes[name])
        done: set[str] = set()
        while called:
            name = called.pop()
            if name not in done and name in self.functions:
                done.add(name)
                found += self.functions[name]
                called += [each for node in self.functions[name] for each in self.calls(node)]
        return found

    def calls(self, node: Any) -> list[str]:
        return [node.op, *_functions_in(node.attr)]


def _functions_in(attributes: Any) -> Iterator[str]:
    """Return the functions in attributes, including those that are passed on in a function's own attributes."""
    for value in attributes.values():
        for each in [value.func] if value.HasField("func") else value.list.func:
            yield each.name
            yield from _functions_in(each.attr)
