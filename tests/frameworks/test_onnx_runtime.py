"""Real graphs in the shapes that exporters make: what they take as JSON, and what they answer."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from hotswap.domain.errors import SchemaValidationFailed, ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, made_up_request
from serving.runtimes import LoadedModel, load
from serving.schemas import FeatureSchema, example
from tests.fixtures.models import problem_of, save_graph, save_identity

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((60, 3)).astype(np.float32)
CLASS = RANDOM.integers(0, 3, 60)
OPSET = 17


def loaded(directory: Path, graph: Any = None) -> LoadedModel:
    if graph is not None:
        (directory / "model.onnx").write_bytes(graph.SerializeToString())
    return load(Framework.ONNX, directory)


@pytest.mark.parametrize("classes", [[0, 1, 2], [1, 2, 3], [-1, 0, 1], ["a", "b", "c"]], ids=repr)
@pytest.mark.parametrize("zipmap", [True, False], ids=["maps", "tensor"])
@pytest.mark.parametrize("estimator", [LogisticRegression(), GaussianNB(), RandomForestClassifier(3)], ids=repr)
def test_a_classifier_answers_its_label_with_the_labels_probability(
    tmp_path: Path, estimator: Any, zipmap: bool, classes: list[Any]
) -> None:
    estimator.fit(ROWS, np.array(classes)[CLASS])
    model = loaded(tmp_path, to_onnx(estimator, ROWS[:1], options={"zipmap": zipmap}, target_opset=OPSET))
    predictions = model.predict(ROWS.tolist())
    assert [each.value for each in predictions] == estimator.predict(ROWS).tolist()
    expected = estimator.predict_proba(ROWS).max(axis=1)
    assert [each.confidence for each in predictions] == pytest.approx(expected.tolist(), abs=1e-4)


def test_confidence_is_the_labels_own_where_another_class_is_likelier(tmp_path: Path) -> None:
    save_graph(
        tmp_path,
        [
            helper.make_node("Identity", ["x"], ["probabilities"]),
            helper.make_node("Gather", ["x", "second"], ["likelihood"], axis=1),
            helper.make_node("Greater", ["likelihood", "threshold"], ["positive"]),
            helper.make_node("Cast", ["positive"], ["label"], to=TensorProto.INT64),
        ],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("label", TensorProto.INT64, ["n"]), ("probabilities", TensorProto.FLOAT, ["n", 2])],
        second=np.array(1),
        threshold=np.array(0.125, dtype=np.float32),
    )
    predictions = loaded(tmp_path).predict([[0.75, 0.25], [1.0, 0.0], [3.0, -2.0], [1.5, 0.75]])
    assert [(each.value, each.confidence) for each in predictions] == [(1, 0.25), (0, 1.0), (0, None), (1, None)]


def test_a_label_that_was_chosen_by_no_number_has_no_number_as_its_confidence(tmp_path: Path) -> None:
    save_graph(
        tmp_path,
        [
            helper.make_node("Log", ["x"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("label", TensorProto.INT64, ["n"]), ("probabilities", TensorProto.FLOAT, ["n", 2])],
    )
    (prediction,) = loaded(tmp_path).predict([[-1.0, 1.0]])
    assert prediction.confidence is not None
    assert math.isnan(prediction.confidence)


def test_a_sequence_is_a_list_and_can_be_written(tmp_path: Path) -> None:
    save_graph(
        tmp_path,
        [helper.make_node("SplitToSequence", ["x"], ["y"], axis=0, keepdims=0)],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = loaded(tmp_path)
    assert [each.value for each in model.predict([[1.0, 2.0], [3.0, 4.0]])] == [[1.0, 2.0], [3.0, 4.0]]
    assert attempt(model, FeatureSchema(model.input_schema), made_up_request(model.input_schema)).problem is None


def test_raw_scores_are_no_confidence(tmp_path: Path) -> None:
    estimator = LinearSVC().fit(ROWS, CLASS)
    predictions = loaded(tmp_path, to_onnx(estimator, ROWS[:1], target_opset=OPSET)).predict(ROWS.tolist())
    assert [each.value for each in predictions] == estimator.predict(ROWS).tolist()
    assert {each.confidence for each in predictions} == {None}


@pytest.mark.parametrize(
    ("kind", "instances"),
    [
        (TensorProto.FLOAT, [1.5, 2.5]),
        (TensorProto.INT64, [2**62, -1]),
        (TensorProto.STRING, ["a", "b\0"]),
        (TensorProto.BOOL, [True, False]),
    ],
)
@pytest.mark.parametrize("shape", [["n"], ["n", 1], [1], [1, 1]], ids=repr)
def test_one_value_an_instance_is_a_bare_value_whatever_the_graphs_rank(
    tmp_path: Path, kind: int, instances: list[Any], shape: list[Any]
) -> None:
    save_identity(tmp_path, kind, shape)
    model = loaded(tmp_path)
    assert {problem_of(model, each) for each in instances} == {None}
    assert [each.value for each in model.predict(instances)] == instances
    assert [each.value for each in model.predict([{"x": each} for each in instances])] == instances


def test_a_graph_for_one_instance_answers_batches(tmp_path: Path) -> None:
    estimator = LinearRegression().fit(ROWS, CLASS)
    graph = convert_sklearn(estimator, initial_types=[("x", FloatTensorType([1, 3]))], target_opset=OPSET)
    answers = [each.value for each in loaded(tmp_path, graph).predict(ROWS.tolist())]
    assert answers == pytest.approx(estimator.predict(ROWS).tolist(), abs=1e-4)


def test_columns_are_an_object_by_name(tmp_path: Path) -> None:
    rows = np.array([[1.0, 3, "cash"], [2.0, 1, "card"], [30.0, 2, "cash"], [40.0, 5, "card"]], dtype=object)
    columns = ColumnTransformer([("numbers", StandardScaler(), [0, 1]), ("kind", OneHotEncoder(), [2])])
    estimator = make_pipeline(columns, LogisticRegression()).fit(rows, [0, 0, 1, 1])
    types = [
        ("amount", FloatTensorType([None, 1])),
        ("items", Int64TensorType([None, 1])),
        ("kind", StringTensorType([None, 1])),
    ]
    options = {"zipmap": False}
    model = loaded(tmp_path, convert_sklearn(estimator, initial_types=types, options=options, target_opset=OPSET))
    instances = [dict(zip(("amount", "items", "kind"), row, strict=True)) for row in rows.tolist()]
    predictions = model.predict(instances)
    assert [each.value for each in predictions] == estimator.predict(rows).tolist()
    expected = estimator.predict_proba(rows).max(axis=1).tolist()
    assert [each.confidence for each in predictions] == pytest.approx(expected, abs=1e-4)
    assert problem_of(model, instances[0]) is None
    for changed, field in (
        ({"amount": "1"}, "features.amount"),
        ({"items": 2**63}, "features.items"),
        ({"amount": 1e39}, "features.amount"),
        ({"other": 1}, "features.other"),
    ):
        assert problem_of(model, instances[0] | changed) == field


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (TensorProto.INT64, -(2**63), 2**63 - 1),
        (TensorProto.INT32, -(2**31), 2**31 - 1),
        (TensorProto.INT8, -128, 127),
        (TensorProto.UINT8, 0, 255),
        (TensorProto.FLOAT16, -65504.0, 65504.0),
        (TensorProto.FLOAT, -float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
        (TensorProto.DOUBLE, -float(np.finfo(np.float64).max), float(np.finfo(np.float64).max)),
    ],
)
def test_what_a_type_cannot_hold_does_not_fit_and_its_bounds_do(tmp_path: Path, kind: int, low: Any, high: Any) -> None:
    save_identity(tmp_path, kind, ["n", 2])
    model = loaded(tmp_path)
    assert problem_of(model, [low, high]) is None
    assert [each.value for each in model.predict([[low, high]])] == [[low, high]]
    for beyond in (int(low) - 10 ** len(str(int(high))), int(high) + 10 ** len(str(int(high)))):
        assert problem_of(model, [0, beyond]) == "features[1]"


def test_instances_of_different_lengths_are_answered_where_sizes_are_free(tmp_path: Path) -> None:
    save_identity(tmp_path, TensorProto.FLOAT, ["n", "rows", "columns"])
    model = loaded(tmp_path)
    instances = [[[1.0, 2.0]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]
    assert [each.value for each in model.predict(instances)] == [[1.0, 2.0], instances[1]]
    with pytest.raises(SchemaValidationFailed, match="one length"):
        model.predict([[[1.0], [1.0, 2.0]]])


@pytest.mark.parametrize("shape", [["n", 3], ["n"], ["n", 2, "free"], [1, 2]], ids=repr)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING])
def test_features_made_up_from_a_schema_fit_it_and_are_answered(tmp_path: Path, kind: int, shape: list[Any]) -> None:
    save_identity(tmp_path, kind, shape)
    model = loaded(tmp_path)
    features = example(model.input_schema)
    assert problem_of(model, features) is None
    assert len(model.predict([features])) == 1


@pytest.mark.parametrize(("shape", "why"), [([8, 3], "batches of 8 only"), ([], "no batch dimension")])
def test_a_graph_that_cannot_answer_one_request_is_refused(tmp_path: Path, shape: list[Any], why: str) -> None:
    save_identity(tmp_path, TensorProto.FLOAT, shape)
    with pytest.raises(ValidationFailed, match=why) as refusal:
        loaded(tmp_path)
    assert refusal.value.details[0].field == "artifactPath"
