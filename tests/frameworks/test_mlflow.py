"""MLflow's model directories, written as MLflow writes them: the flavor's file is served, by the signature's names."""

import json
import tempfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, made_up_request
from serving.runtimes import load, mlflow
from serving.schemas import FeatureSchema
from tests.fixtures.models import problem_of

ROWS = np.random.default_rng(0).random((100, 3))
AMOUNT = ROWS @ [1.0, 2.0, 3.0]
FIRST = ROWS[0].tolist()
COLUMNS = [
    {"type": "double", "name": "age", "required": True},
    {"type": "long", "name": "items", "required": True},
    {"type": "float", "name": "debt", "required": True},
]
SMALL = {"n_estimators": 3, "max_depth": 2}


def described(directory: Path, flavor: str, options: str, inputs: list[dict[str, Any]] | None = None) -> Path:
    """A folder with the `MLmodel` that MLflow 3 writes, and what it lays beside it."""
    (model := directory / "model").mkdir()
    signature = f"signature:\n  inputs: '{json.dumps(inputs)}'\n  outputs: null\n  params: null\n" if inputs else ""
    (model / "MLmodel").write_text(
        "artifact_path: file:///tmp/model\n"
        "flavors:\n"
        "  python_function:\n"
        "    env:\n      conda: conda.yaml\n      virtualenv: python_env.yaml\n"
        f"    loader_module: mlflow.{flavor}\n"
        "    python_version: 3.11.7\n"
        f"  {flavor}:\n    code: null\n    {options}\n"
        "mlflow_version: 3.18.0\nmodel_id: null\nmodel_size_bytes: 1234\nmodel_uuid: 0d2cf1d3c5c64b0b8a4c0b5cc2b8b0ad\n"
        f"prompts: null\n{signature}utc_time_created: '2026-11-01 12:00:00.000000'\n"
    )
    (model / "requirements.txt").write_text("mlflow==3.18.0\nnumpy==2.4.6\n")
    (model / "python_env.yaml").write_text("python: 3.11.7\n")
    (model / "input_example.json").write_text('{"columns": ["age"], "data": [[1]]}')
    return model


def sklearn(directory: Path, inputs: Any = None) -> Any:
    estimator = LinearRegression().fit(ROWS, AMOUNT)
    place = described(directory, "sklearn", "pickled_model: model.skops\n    serialization_format: skops", inputs)
    skops.io.dump(estimator, place / "model.skops")
    return estimator


def boosted(directory: Path, inputs: Any = None, ending: str = "ubj") -> Any:
    estimator = xgboost.XGBRegressor(**SMALL).fit(ROWS, AMOUNT)
    estimator.get_booster().save_model(
        described(directory, "xgboost", f"data: model.{ending}", inputs) / f"model.{ending}"
    )
    return estimator


def light(directory: Path, inputs: Any = None) -> Any:
    estimator = lightgbm.LGBMRegressor(**SMALL, verbose=-1).fit(ROWS, AMOUNT)
    estimator.booster_.save_model(described(directory, "lightgbm", "data: model.lgb", inputs) / "model.lgb")
    return estimator


def onnx(directory: Path, inputs: Any = None) -> Any:
    estimator = LinearRegression().fit(ROWS, AMOUNT)
    graph = to_onnx(estimator, ROWS[:1].astype(np.float32), target_opset=17)
    (described(directory, "onnx", "data: model.onnx", inputs) / "model.onnx").write_bytes(graph.SerializeToString())
    return estimator


WRITTEN = [
    (Framework.SCIKIT_LEARN, sklearn),
    (Framework.XGBOOST, boosted),
    (Framework.LIGHTGBM, light),
    (Framework.ONNX, onnx),
]


@pytest.mark.parametrize(("framework", "write"), WRITTEN)
def test_the_flavors_file_is_served_with_the_signatures_names_and_types(
    tmp_path: Path, framework: Framework, write: Any
) -> None:
    estimator = write(tmp_path, COLUMNS)
    model = load(framework, tmp_path)
    by_name = {"debt": 0.5, "items": 2, "age": 0.25}
    assert problem_of(model, by_name) is None
    assert problem_of(model, [0.25, 2, 0.5]) is None
    assert problem_of(model, {**by_name, "items": 2.5}) is not None
    assert problem_of(model, {"debt": 0.5, "items": 2}) is not None
    expected = estimator.predict(np.array([[0.25, 2, 0.5]]))[0]
    found = [each.value for each in model.predict([by_name, [0.25, 2, 0.5]])]
    assert found == pytest.approx([expected] * 2, rel=1e-5)
    assert attempt(model, FeatureSchema(model.input_schema), made_up_request(model.input_schema)).problem is None


@pytest.mark.parametrize(("framework", "write"), WRITTEN)
def test_without_a_signature_it_is_what_the_model_itself_says(tmp_path: Path, framework: Framework, write: Any) -> None:
    estimator = write(tmp_path)
    (found,) = load(framework, tmp_path).predict([FIRST])
    assert found.value == pytest.approx(estimator.predict(ROWS[:1])[0], rel=1e-5)


def test_what_a_signature_doesnt_require_may_be_left_out(tmp_path: Path) -> None:
    estimator = boosted(tmp_path, [*COLUMNS[:2], {**COLUMNS[2], "required": False}])
    model = load(Framework.XGBOOST, tmp_path)
    assert problem_of(model, {"age": 0.25, "items": 2}) is None
    (found,) = model.predict([{"age": 0.25, "items": 2}])
    assert found.value == pytest.approx(estimator.predict(np.array([[0.25, 2, np.nan]]))[0], rel=1e-5)


@pytest.mark.parametrize(("framework", "write"), [(Framework.SCIKIT_LEARN, sklearn), (Framework.ONNX, onnx)])
def test_what_a_model_takes_no_missing_value_for_may_not_be_left_out_whatever_its_signature_says(
    tmp_path: Path, framework: Framework, write: Any
) -> None:
    write(tmp_path, [{**column, "required": False} for column in COLUMNS])
    model = load(framework, tmp_path)
    assert problem_of(model, {"age": 0.25, "items": 2, "debt": 0.5}) is None
    assert problem_of(model, {"age": 0.25, "items": 2}) is not None
    assert problem_of(model, {"age": 0.25, "items": 2, "debt": None}) is not None


@pytest.mark.filterwarnings("ignore")  # XGBoost tells of the ending when it writes
def test_xgboosts_older_ending_is_read_too(tmp_path: Path) -> None:
    estimator = boosted(tmp_path, ending="xgb")
    (found,) = load(Framework.XGBOOST, tmp_path).predict([FIRST])
    assert found.value == pytest.approx(estimator.predict(ROWS[:1])[0], rel=1e-5)


@pytest.mark.parametrize(
    ("framework", "text", "why"),
    [
        (Framework.XGBOOST, "flavors: {sklearn: {pickled_model: model.skops}}", "no flavor xgboost.*it has sklearn"),
        (Framework.XGBOOST, "flavors: {xgboost: {data: ../../etc/passwd}}", "which is not in the artifact"),
        (Framework.XGBOOST, "flavors: {xgboost: {data: absent.ubj}}", "'absent.ubj', which is not in the artifact"),
        (Framework.XGBOOST, "flavors: {xgboost: {}}", "MLmodel can't be read"),
        (Framework.XGBOOST, "- [", "MLmodel can't be read"),
        (Framework.XGBOOST, "!!python/object/apply:os.system ['true']", "MLmodel can't be read"),
        (Framework.XGBOOST, "", "MLmodel can't be read"),
        (Framework.XGBOOST, "a: " + "[" * 20_000, "MLmodel can't be read"),
        (Framework.XGBOOST, "x" * 2_000_000, "larger than"),
        (Framework.LIGHTGBM, "flavors: {lightgbm: {data: model.skops}}", "must hold one .txt or .lgb file"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_describes_no_such_model_is_refused(tmp_path: Path, framework: Framework, text: str, why: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    (tmp_path / "model.skops").write_bytes(b"")
    with pytest.raises(ValidationFailed, match=why) as refused:
        load(framework, tmp_path)
    assert refused.value.details[0].field == "artifactPath"


TEXT = st.text(alphabet=st.sampled_from("flavors:xgboostdatsignureipm {}[]'\",-&*!|>%@`\n\t\\x0"), max_size=200)


@given(text=TEXT | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
@settings(max_examples=150, deadline=None)
def test_whatever_an_mlmodel_says_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "MLmodel").write_text(f"flavors: {{xgboost: {{data: MLmodel}}}}\nsignature: {text}")
        try:
            found = mlflow.described(Framework.XGBOOST, Path(directory))
        except ValidationFailed:
            return
        assert found is not None
        assert found.place.name == "MLmodel"


def test_a_pickled_flavor_stays_refused_with_its_opcode(tmp_path: Path) -> None:
    place = described(tmp_path, "sklearn", "pickled_model: model.pkl\n    serialization_format: cloudpickle")
    (place / "model.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ValidationFailed, match=r"model.pkl is a pickle, whose opcode GLOBAL"):
        load(Framework.SCIKIT_LEARN, tmp_path)


@pytest.mark.parametrize("number", [2, 4])
def test_a_signature_of_other_columns_than_the_models_is_refused(tmp_path: Path, number: int) -> None:
    sklearn(tmp_path, [{"type": "double", "name": f"c{each}", "required": True} for each in range(number)])
    with pytest.raises(ValidationFailed, match="the model takes 3 features"):
        load(Framework.SCIKIT_LEARN, tmp_path)
