"""Models that were really trained, saved as their frameworks do it: what they take as JSON, and what they answer."""

import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from hotswap.domain.application import ArtifactRef
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import ValidationCheck
from hotswap.domain.vocabulary import Framework
from serving.artifacts import ArtifactCache
from serving.golden import attempt, made_up_request
from serving.inspection import SubprocessInspector
from serving.runtimes import Terms, load
from serving.schemas import FeatureSchema
from tests.fixtures.models import problem_of
from tests.fixtures.s3 import Stored

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((200, 3))
TWO = (ROWS[:, 0] > 0.5).astype(int)
THREE = np.digitize(ROWS[:, 1], [0.33, 0.66])
AMOUNT = ROWS @ [1.0, 2.0, 3.0]
NAMES = ["age", "income", "debt"]

Save = Callable[[Path], Any]


def scikit(estimator: Any, target: Any, rows: Any = ROWS) -> Save:
    def save(directory: Path) -> Any:
        skops.io.dump(estimator.fit(rows, target), directory / "model.skops")
        return estimator

    return save


def boosted(estimator: Any, target: Any, name: str = "model.ubj", rows: Any = ROWS) -> Save:
    def save(directory: Path) -> Any:
        estimator.fit(rows, target).get_booster().save_model(directory / name)
        return estimator

    return save


def light(estimator: Any, target: Any, rows: Any = ROWS) -> Save:
    def save(directory: Path) -> Any:
        estimator.fit(rows, target).booster_.save_model(directory / "model.txt")
        return estimator

    return save


TREES = Terms(trusted_types=["sklearn.tree._tree.Tree"])
SMALL = {"n_estimators": 5, "max_depth": 3}
QUIET = {**SMALL, "verbose": -1}
CLASSIFIERS = [
    (Framework.SCIKIT_LEARN, scikit(make_pipeline(StandardScaler(), LogisticRegression()), TWO)),
    (Framework.SCIKIT_LEARN, scikit(RandomForestClassifier(5, random_state=0), np.array(["a", "b", "c"])[THREE])),
    (Framework.XGBOOST, boosted(xgboost.XGBClassifier(**SMALL), TWO)),
    (Framework.XGBOOST, boosted(xgboost.XGBClassifier(**SMALL), THREE, "model.json")),
    (Framework.LIGHTGBM, light(lightgbm.LGBMClassifier(**QUIET), TWO)),
    (Framework.LIGHTGBM, light(lightgbm.LGBMClassifier(**QUIET), THREE)),
]
REGRESSORS = [
    (Framework.SCIKIT_LEARN, scikit(LinearRegression(), AMOUNT)),
    (Framework.XGBOOST, boosted(xgboost.XGBRegressor(**SMALL), AMOUNT)),
    (Framework.LIGHTGBM, light(lightgbm.LGBMRegressor(**QUIET), AMOUNT)),
]


@pytest.mark.parametrize(("framework", "save"), CLASSIFIERS)
def test_a_classifier_answers_its_label_with_the_labels_probability(
    tmp_path: Path, framework: Framework, save: Save
) -> None:
    estimator = save(tmp_path)
    predictions = load(framework, tmp_path, TREES).predict(ROWS.tolist())
    assert [each.value for each in predictions] == estimator.predict(ROWS).tolist()
    expected = estimator.predict_proba(ROWS).max(axis=1).tolist()
    assert [each.confidence for each in predictions] == pytest.approx(expected, abs=1e-5)
    json.dumps([each.value for each in predictions])


@pytest.mark.parametrize(("framework", "save"), REGRESSORS)
def test_a_regressor_answers_its_value(tmp_path: Path, framework: Framework, save: Save) -> None:
    estimator = save(tmp_path)
    predictions = load(framework, tmp_path).predict(ROWS.tolist())
    assert [each.value for each in predictions] == pytest.approx(estimator.predict(ROWS).tolist(), rel=1e-5)
    assert {each.confidence for each in predictions} == {None}


@pytest.mark.parametrize(("framework", "save"), [*CLASSIFIERS, *REGRESSORS])
def test_the_schema_says_what_it_takes(tmp_path: Path, framework: Framework, save: Save) -> None:
    save(tmp_path)
    model = load(framework, tmp_path, TREES)
    assert problem_of(model, [1, 2.5, 3]) is None
    assert problem_of(model, [1, 2]) == "features"
    assert problem_of(model, [1, "two", 3]) == "features[1]"
    assert attempt(model, FeatureSchema(model.input_schema), made_up_request(model.input_schema)).problem is None


NAMED = pd.DataFrame(ROWS, columns=NAMES)


@pytest.mark.parametrize(
    ("framework", "save"),
    [
        (Framework.SCIKIT_LEARN, scikit(LinearRegression(), AMOUNT, NAMED)),
        (Framework.XGBOOST, boosted(xgboost.XGBRegressor(**SMALL), AMOUNT, rows=NAMED)),
        (Framework.LIGHTGBM, light(lightgbm.LGBMRegressor(**QUIET), AMOUNT, NAMED)),
    ],
)
def test_features_that_have_names_are_taken_by_them_in_any_order(
    tmp_path: Path, framework: Framework, save: Save
) -> None:
    estimator = save(tmp_path)
    model = load(framework, tmp_path)
    by_name = dict(zip(reversed(NAMES), reversed(ROWS[0].tolist()), strict=True))
    assert problem_of(model, by_name) is None
    assert problem_of(model, {**by_name, "shoe size": 42}) == "features.shoe size"
    both = model.predict([by_name, ROWS[0].tolist()])
    assert [each.value for each in both] == pytest.approx([estimator.predict(NAMED[:1])[0]] * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("framework", "save"),
    [
        (Framework.XGBOOST, boosted(xgboost.XGBRegressor(**SMALL), AMOUNT)),
        (Framework.LIGHTGBM, light(lightgbm.LGBMRegressor(**QUIET), AMOUNT)),
    ],
)
def test_a_missing_value_is_null_where_the_framework_knows_missing_ones(
    tmp_path: Path, framework: Framework, save: Save
) -> None:
    estimator = save(tmp_path)
    model = load(framework, tmp_path)
    row = [None, 0.5, 0.5]
    assert problem_of(model, row) is None
    (prediction,) = model.predict([row])
    assert prediction.value == pytest.approx(estimator.predict(np.array([[np.nan, 0.5, 0.5]]))[0], rel=1e-5)


def test_a_pipeline_over_a_table_of_words_and_numbers_gets_a_table(tmp_path: Path) -> None:
    table = pd.DataFrame({"country": ["de", "fr"] * 100, "amount": ROWS[:, 0]})
    encoded = make_column_transformer((OneHotEncoder(), ["country"]), remainder="passthrough")
    estimator = scikit(make_pipeline(encoded, LogisticRegression()), TWO, table)(tmp_path)
    model = load(Framework.SCIKIT_LEARN, tmp_path)
    (prediction,) = model.predict([{"amount": 0.9, "country": "fr"}])
    asked = pd.DataFrame({"country": ["fr"], "amount": [0.9]})
    assert prediction.value == estimator.predict(asked)[0]
    assert prediction.confidence == pytest.approx(estimator.predict_proba(asked).max())


def test_a_cluster_is_a_value_without_confidence(tmp_path: Path) -> None:
    estimator = scikit(KMeans(2, n_init=1, random_state=0), None)(tmp_path)
    predictions = load(Framework.SCIKIT_LEARN, tmp_path).predict(ROWS.tolist())
    assert [each.value for each in predictions] == estimator.predict(ROWS).tolist()
    assert predictions[0].confidence is None


def shifted(rows: Any) -> Any:
    return rows + 1


@pytest.mark.parametrize(
    ("save", "why"),
    [
        (
            scikit(make_pipeline(FunctionTransformer(shifted), LinearRegression()), AMOUNT),
            "shifted, which skops can't vouch for",
        ),
        (scikit(RandomForestClassifier(5), TWO), r"holds sklearn.tree._tree.Tree.*HOTSWAP_SERVING__TRUSTED_TYPES"),
        (lambda directory: skops.io.dump(StandardScaler().fit(ROWS), directory / "m.skops"), "no fitted estimator"),
        (lambda directory: skops.io.dump(LinearRegression(), directory / "m.skops"), "no fitted estimator"),
        (lambda directory: (directory / "m.skops").write_bytes(b"no zip"), "m.skops can't be loaded"),
        (lambda directory: None, "must hold one .skops file; it holds 0"),
    ],
    ids=["own code", "trees", "predicts nothing", "not fitted", "broken", "absent"],
)
def test_what_is_no_safe_estimator_is_refused_with_the_reason(tmp_path: Path, save: Save, why: str) -> None:
    save(tmp_path)
    with pytest.raises(ValidationFailed, match=why) as refused:
        load(Framework.SCIKIT_LEARN, tmp_path)
    assert refused.value.details[0].field == "artifactPath"


@pytest.mark.parametrize(("framework", "name"), [(Framework.XGBOOST, "m.ubj"), (Framework.LIGHTGBM, "m.txt")])
@pytest.mark.parametrize("content", [b"tree\n\x00\xff", b"[" * 10_000])
async def test_a_hostile_file_ends_its_own_process_at_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, framework: Framework, name: str, content: bytes
) -> None:
    # LightGBM reads the one with a zero byte for ever.
    monkeypatch.setattr("serving.inspection.TIMEOUT_SECONDS", 10.0)
    loads = await loading(tmp_path, framework, lambda directory: (directory / name).write_bytes(content))
    assert loads.passed is False
    assert loads.detail


@pytest.mark.parametrize("trusted", [(), TREES.trusted_types])
async def test_what_the_operator_trusts_is_loaded_by_the_validation_too(
    tmp_path: Path, trusted: Collection[str]
) -> None:
    forest = scikit(RandomForestClassifier(5), TWO)
    assert (await loading(tmp_path, Framework.SCIKIT_LEARN, forest, trusted)).passed is bool(trusted)


async def loading(cache: Path, framework: Framework, save: Save, trusted: Collection[str] = ()) -> ValidationCheck:
    """What validation says of loading what `save` puts into an artifact."""
    artifact = ArtifactRef("s3://ml-models/m.tar.gz", "a" * 64, 1)
    (directory := cache / artifact.sha256).mkdir()
    save(directory)
    terms = Terms(trusted_types=trusted)
    inspector = SubprocessInspector(ArtifactCache(cache, Stored()), max_memory_bytes=4 * 1024**3, terms=terms)
    report = await inspector.validate(VersionRef("v", "m", "m", "1.0.0", framework, artifact, {}, {}))
    return {check.name: check for check in report.checks}["model loads"]


@pytest.mark.parametrize(
    ("framework", "package", "extra"),
    [
        (Framework.XGBOOST, "xgboost", "xgboost"),
        (Framework.PYTORCH, "torch", "pytorch"),
        (Framework.TENSORFLOW, "tensorflow", "tensorflow"),
    ],
)
def test_an_absent_extra_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, framework: Framework, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"serving.runtimes.{extra}", raising=False)
    with pytest.raises(ValidationFailed, match=rf"pip install 'hotswap\[{extra}\]'") as refused:
        load(framework, tmp_path)
    assert refused.value.details[0].field == "framework"
