"""TensorFlow's SavedModels, really trained: asked by their signature, and refused where they touch files or Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, made_up_request
from serving.runtimes import load
from serving.schemas import FeatureSchema
from tests.fixtures.models import problem_of
from tests.integration.test_mlflow import described

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: make install-frameworks")
pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own

NEVER = "/tmp/never"  # noqa: S108 - it is never written
ROWS = np.random.default_rng(0).random((64, 3)).astype(np.float32)
AMOUNT = ROWS @ np.array([1.0, 2.0, 3.0], dtype=np.float32)


class Line(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.zeros([3]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
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


def test_mlflows_flavour_is_served(tmp_path: Path, trained: Any) -> None:
    place = described(tmp_path, "tensorflow", "saved_model_dir: tfmodel")
    tf.saved_model.save(trained, str(place / "tfmodel"), signatures=trained.ask)
    (found,) = load(Framework.TENSORFLOW, tmp_path).predict([[1, 1, 1]])
    assert found.value == pytest.approx(6, abs=0.5)


class Words(tf.Module):
    @tf.function(
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


class Touches(tf.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
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
        return tf.py_function(lambda: 1, [], tf.int32)


@pytest.mark.parametrize("operation", ["ReadFile", "WriteFile", "SaveV2", "EagerPyFunc"])
def test_a_graph_that_touches_files_or_python_is_refused_before_it_is_loaded(tmp_path: Path, operation: str) -> None:
    touches = Touches(operation)
    tf.saved_model.save(touches, str(tmp_path), signatures=touches.ask)
    with pytest.raises(ValidationFailed, match=f"has the operation {operation}") as refused:
        load(Framework.TENSORFLOW, tmp_path)
    assert refused.value.details[0].field == "artifactPath"
    assert not Path(NEVER).exists()


@pytest.mark.parametrize("content", [b"", b"\x08\x01", b"[" * 1000])
def test_a_broken_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ValidationFailed, match=r"saved_model\.pb"):
        load(Framework.TENSORFLOW, tmp_path)
