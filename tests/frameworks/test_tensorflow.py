"""TensorFlow's SavedModels, really trained: asked by their signature, and refused where they touch files or Python."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, made_up_request
from serving.runtimes import load
from serving.schemas import FeatureSchema
from tests.fixtures.models import problem_of
from tests.frameworks.test_mlflow import described

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: make install-frameworks")
if TYPE_CHECKING:  # mypy doesn't read TensorFlow, and refuses a base class that it knows nothing of
    Module = object
    TrackableResource = object
else:
    Module = tf.Module
    TrackableResource = tf.saved_model.experimental.TrackableResource
function: Callable[..., Callable[[Callable[..., Any]], Any]] = tf.function
SavedModel = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel
pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own

NEVER = "/tmp/never"  # noqa: S108 - it is never written
ROWS = np.random.default_rng(0).random((64, 3)).astype(np.float32)
AMOUNT = ROWS @ np.array([1.0, 2.0, 3.0], dtype=np.float32)


class Line(Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.zeros([3]))

    @function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def ask(self, x: Any) -> Any:
        return {"amount": tf.linalg.matvec(x, self.weights)}


@pytest.fixture(scope="module")
def trained() -> Any:
    line = Line()
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((line.ask(ROWS)["amount"] - AMOUNT) ** 2)
        line.weights.assign_sub(0.5 * tape.gradient(loss, line.weights))
    assert float(loss) < 0.01
    return line


def test_a_trained_model_answers_as_it_did_in_training(tmp_path: Path, trained: Any) -> None:
    tf.saved_model.save(trained, str(tmp_path / "saved"), signatures=trained.ask)
    model = load(Framework.TENSORFLOW, tmp_path)
    expected = trained.ask(ROWS)["amount"].numpy().tolist()
    assert [each.value for each in model.predict(ROWS.tolist())] == pytest.approx(expected, rel=1e-5)
    assert model.device == "cpu"
    assert problem_of(model, [1, 2.5, 3]) is None
    assert problem_of(model, [1, 2]) == "features"
    assert problem_of(model, [1, "two", 3]) == "features[1]"
    assert attempt(model, FeatureSchema(model.input_schema), made_up_request(model.input_schema)).problem is None


def test_mlflows_flavor_is_served(tmp_path: Path, trained: Any) -> None:
    place = described(tmp_path, "tensorflow", "saved_model_dir: tfmodel")
    tf.saved_model.save(trained, str(place / "tfmodel"), signatures=trained.ask)
    (found,) = load(Framework.TENSORFLOW, tmp_path).predict([[1, 1, 1]])
    assert found.value == pytest.approx(6, abs=0.5)


class Words(Module):
    @function(
        input_signature=[tf.TensorSpec([None], tf.string, name="text"), tf.TensorSpec([None], tf.int64, name="times")]
    )
    def ask(self, text: Any, times: Any) -> Any:
        return {"answer": tf.strings.join([text, tf.strings.as_string(times)])}


def test_several_inputs_are_an_object_by_name_and_words_are_text(tmp_path: Path) -> None:
    words = Words()
    tf.saved_model.save(words, str(tmp_path), signatures=words.ask)
    model = load(Framework.TENSORFLOW, tmp_path)
    features = {"text": "ä", "times": 2}
    assert problem_of(model, features) is None
    assert problem_of(model, {"text": "ä", "times": 2.5}) == "features.times"
    assert [each.value for each in model.predict([features, {"text": "b", "times": 3}])] == ["ä2", "b3"]


class Touches(Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight = tf.Variable(1.0)

    @function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def ask(self, x: Any) -> Any:
        return {"y": x + tf.cast(self.touched(), tf.float32)}

    def touched(self) -> Any:
        match self.how:
            case "ReadFile":
                return tf.strings.length(tf.io.read_file("/etc/passwd"))
            case "WriteFile":
                with tf.control_dependencies([tf.io.write_file(NEVER, "x")]):
                    return tf.constant(1)
            case "SaveV2":
                with tf.control_dependencies([tf.raw_ops.SaveV2(
                    prefix=NEVER, tensor_names=["a"], shape_and_slices=[""], tensors=[self.weight.read_value()]
                )]):  # fmt: skip
                    return tf.constant(1)
            case "PrintV2":
                tf.print("x", output_stream=f"file://{NEVER}")
                return tf.constant(1)
            case "RangeDataset":
                return tf.data.Dataset.range(3).cache(NEVER).reduce(np.int64(0), lambda one, other: one + other)
            case "DebugIdentity":
                return tf.raw_ops.DebugIdentity(input=tf.constant(1), debug_urls=[f"file://{NEVER}"])
        return tf.py_function(lambda: 1, [], tf.int32)


@pytest.mark.parametrize(
    "operation", ["ReadFile", "WriteFile", "SaveV2", "EagerPyFunc", "PrintV2", "RangeDataset", "DebugIdentity"]
)
def test_a_graph_that_touches_files_or_python_is_refused_before_it_is_loaded(tmp_path: Path, operation: str) -> None:
    touches = Touches(operation)
    tf.saved_model.save(touches, str(tmp_path), signatures=touches.ask)
    with pytest.raises(ValidationFailed, match=f"has the operation {operation}") as refused:
        load(Framework.TENSORFLOW, tmp_path)
    assert refused.value.details[0].field == "artifactPath"
    assert not Path(NEVER).exists()


class Writes(TrackableResource):
    """A resource whose initializer runs when it is loaded, whatever is asked."""

    def _create_resource(self) -> Any:
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self) -> None:
        saved()


def saved() -> Any:
    return tf.raw_ops.SaveV2(prefix=NEVER, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)])


@contextmanager
def changed(path: Path) -> Iterator[Any]:
    """Its graph, to be written anew."""
    saved_model = SavedModel.FromString(path.read_bytes())
    yield saved_model.meta_graphs[0]
    path.write_bytes(saved_model.SerializeToString())


def with_initializer(place: Path, line: Any) -> None:
    line.resource = Writes()
    tf.saved_model.save(line, str(place), signatures=line.ask)
    with changed(place / "saved_model.pb") as meta:
        del meta.signature_def["__saved_model_init_op"]  # it is run all the same


def with_main_op(place: Path, *writes: Any) -> None:
    """As TensorFlow 1 saves: its `main_op` runs at the load."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        weight = tf.compat.v1.Variable(2.0)
        session.run(weight.initializer)
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x * weight})
        builder = tf.compat.v1.saved_model.Builder(str(place))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=saved() if writes else None
        )
        builder.save()


def with_sparse_output(place: Path, _: Any) -> None:
    """An answer in several tensors, one of them what saves."""
    with_main_op(place)
    with changed(place / "saved_model.pb") as meta:
        output = meta.signature_def["serving_default"].outputs["y"]
        output.coo_sparse.values_tensor_name = meta.saver_def.save_tensor_name


def with_its_own_restore(place: Path, _: Any) -> None:
    """The operation that restores is the one that saves."""
    with_main_op(place)
    with changed(place / "saved_model.pb") as meta:
        meta.saver_def.restore_op_name = meta.saver_def.save_tensor_name.partition(":")[0]


@pytest.mark.parametrize("write", [with_initializer, with_main_op, with_sparse_output, with_its_own_restore])
def test_what_writes_while_it_is_loaded_is_refused(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "saved", Line())
    with pytest.raises(ValidationFailed, match=r"has the operation (SaveV2|MergeV2Checkpoints)"):
        load(Framework.TENSORFLOW, tmp_path)
    assert not list(Path(NEVER).parent.glob("never*"))


def test_what_tensorflow_1_saved_is_served(tmp_path: Path) -> None:
    with_main_op(tmp_path / "saved")
    assert [each.value for each in load(Framework.TENSORFLOW, tmp_path).predict([1.5, 2])] == [3, 4]


class Looks(Module):
    """Holds what trained models hold of state: tables, loops, chance."""

    def __init__(self) -> None:
        super().__init__()
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1.0, 2.0]))
        self.table = tf.lookup.StaticHashTable(pairs, -1.0)
        self.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, 0.0)
        self.seen.insert(["b"], [10.0])

    @function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def ask(self, word: Any) -> Any:
        found = self.table.lookup(word) + self.seen.lookup(word)
        tf.debugging.assert_all_finite(found, "finite")
        for _ in tf.range(2):
            found += tf.random.uniform(tf.shape(found), maxval=0.001)
        return {"found": found}


def test_tables_loops_and_chance_are_let_by(tmp_path: Path) -> None:
    looks = Looks()
    tf.saved_model.save(looks, str(tmp_path), signatures=looks.ask)
    found = load(Framework.TENSORFLOW, tmp_path).predict(["a", "b", "c"])
    assert [each.value for each in found] == pytest.approx([1, 12, -1], abs=0.01)


@pytest.mark.parametrize("content", [b"", b"\x08\x01", b"[" * 1000])
def test_a_broken_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ValidationFailed, match=r"saved_model\.pb"):
        load(Framework.TENSORFLOW, tmp_path)
