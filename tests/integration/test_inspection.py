"""Artifacts as validation sees them: loaded in a process of their own, tried, measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from onnx import TensorProto, helper

from hotswap.domain.application import ArtifactRef
from hotswap.domain.contract import NON_FINITE
from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import CheckName, CheckOutcome, ValidationCheck
from hotswap.domain.vocabulary import Framework
from serving.artifacts import ArtifactCache
from serving.inspection import SubprocessInspector
from serving.runtimes import load
from tests.fixtures.models import save_graph, save_identity, save_logarithm, save_table
from tests.fixtures.s3 import Stored

ARTIFACT = ArtifactRef("s3://ml-models/table.tar.gz", "a" * 64, 1)
ROW = [1.0, 0.0, 0.0]


def as_postgresql_writes_it(document: str) -> str:
    """A number's digits without an exponent: the bounds of 32-bit floats come back as integers."""
    return document.replace("3.4028234663852886e+38", "34028234663852886" + "0" * 22)


class Unread:
    """Of a model that can't be loaded."""

    input_schema: ClassVar[dict[str, Any]] = {}
    output_schema: ClassVar[dict[str, Any]] = {}


class Inspection:
    """What the inspector finds in an artifact that the node's cache has."""

    def __init__(self, directory: Path) -> None:
        self._cache = directory / "cache"
        self.artifact = self._cache / ARTIFACT.sha256
        self.artifact.mkdir(parents=True)

    def golden(self, *requests: dict[str, Any]) -> None:
        (self.artifact / "golden.json").write_text(json.dumps(requests))

    def labelled(self, *rows: dict[str, Any]) -> None:
        (self.artifact / "labelled.json").write_text(json.dumps(rows))

    async def checks(
        self,
        *,
        max_memory_bytes: int = 4 * 1024**3,
        baseline: dict[str, float] | None = None,
        loads: bool = True,
        allows_non_finite: bool = False,
    ) -> dict[str, ValidationCheck]:
        model = load(Framework.ONNX, self.artifact) if loads else Unread
        version = VersionRef(
            version_id="v-1",
            model_id="m-1",
            model="table",
            version="1.0.0",
            framework=Framework.ONNX,
            artifact=ARTIFACT,
            input_schema=json.loads(as_postgresql_writes_it(json.dumps(model.input_schema))),
            output_schema=model.output_schema | ({NON_FINITE: True} if allows_non_finite else {}),
            baseline=baseline or {},
        )
        inspector = SubprocessInspector(ArtifactCache(self._cache, Stored()), max_memory_bytes=max_memory_bytes)
        report = await inspector.validate(version)
        assert [check.name for check in report.checks] == list(CheckName), "a row for each, in their order"
        return {check.name: check for check in report.checks}


@pytest.fixture
def inspection(tmp_path: Path) -> Inspection:
    return Inspection(tmp_path)


async def test_a_sound_artifact_passes_with_its_figures(inspection: Inspection) -> None:
    save_table(inspection.artifact, features=3)
    inspection.golden({"features": ROW, "prediction": 10}, {"features": [2, 0, 0]})
    checks = await inspection.checks()
    assert {name for name, check in checks.items() if check.passed is False} == set()
    assert checks["golden requests"] == ValidationCheck("golden requests", True, "2 answered as expected")
    assert checks["memory"].passed
    assert checks["memory"].detail.endswith(" MB at its peak, of 4295 MB allowed")


async def test_memory_beyond_the_limit_fails_and_tells_both_figures(inspection: Inspection) -> None:
    save_table(inspection.artifact, features=3)
    ballast = bytearray(b"x" * 256 * 1024**2)  # what this process has must not count
    checks = await inspection.checks(max_memory_bytes=10**6)
    del ballast
    assert checks["memory"].passed is False
    measured, _, limit = checks["memory"].detail.partition(" MB at its peak, of ")
    assert limit == "1 MB allowed"
    assert 1 < int(measured) < 250


@pytest.mark.parametrize(
    ("requests", "why"),
    [
        ([{"features": ROW, "prediction": 20}], "1 of 1 failed; it answered 10.0 where 20 is expected"),
        ([{"features": ROW}, {"features": [9, 0, 0]}], "1 of 2 failed; it failed: "),
        ([{"features": [1, "x", 0]}], "1 of 1 failed; features[1] doesn't fit the model's schema"),
        ([{"features": [1, 2]}], "1 of 1 failed; features doesn't fit the model's schema"),
    ],
    ids=["another answer", "failure", "misfit", "too short"],
)
async def test_golden_requests_must_fit_and_be_answered_as_expected(
    inspection: Inspection, requests: Sequence[dict[str, Any]], why: str
) -> None:
    save_table(inspection.artifact, features=3)
    inspection.golden(*requests)
    found = (await inspection.checks())["golden requests"]
    assert (found.passed, found.detail[: len(why)]) == (False, why)


async def test_an_answer_that_is_no_number_fails(inspection: Inspection) -> None:
    save_logarithm(inspection.artifact)
    inspection.golden({"features": -1.0})
    found = (await inspection.checks())["golden requests"]
    assert (found.passed, found.detail) == (False, "1 of 1 failed; it answered nan, which is no finite number")


async def test_an_answer_that_is_no_number_is_one_of_a_version_that_may_answer_so(inspection: Inspection) -> None:
    save_logarithm(inspection.artifact)
    inspection.golden({"features": -1.0})
    found = (await inspection.checks(allows_non_finite=True))["golden requests"]
    assert (found.passed, found.detail) == (True, "1 answered as expected")


async def test_golden_answers_that_are_no_json_are_refused(inspection: Inspection) -> None:
    save_logarithm(inspection.artifact)
    inspection.golden({"features": -1.0, "prediction": float("nan")})
    found = (await inspection.checks())["model loads"]
    assert found.passed is False
    assert "golden.json is not a list" in found.detail


async def test_without_golden_requests_one_is_made_up_and_answered(inspection: Inspection) -> None:
    save_identity(inspection.artifact, TensorProto.FLOAT, ["n", 3])
    found = (await inspection.checks())["golden requests"]
    assert (found.passed, found.detail.split(" was ")[0]) == (True, "one made up from the schema")


async def test_a_model_that_fails_what_its_schema_allows_fails(inspection: Inspection) -> None:
    save_graph(
        inspection.artifact,
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", "free"])],
        [("y", TensorProto.FLOAT, ["n", 1])],
        weights=np.ones((3, 1), dtype=np.float32),
    )
    found = (await inspection.checks())["golden requests"]
    assert (found.passed, found.detail.split(";")[0]) == (False, "one made up from the schema failed")
    inspection.golden({"features": ROW, "prediction": 1})
    assert (await inspection.checks())["golden requests"].passed


async def test_a_version_slower_than_its_baseline_fails_and_tells_both_figures(inspection: Inspection) -> None:
    save_table(inspection.artifact, features=3)
    inspection.golden({"features": ROW, "prediction": 10})
    slow = (await inspection.checks(baseline={"latencyMs": 1e-6}))[CheckName.LATENCY]
    assert slow.outcome is CheckOutcome.FAILED
    assert "ms, of less than 1.2e-06 ms allowed (1.2 x the baseline's 1e-06)" in slow.detail
    checks = await inspection.checks(baseline={"latencyMs": 10_000})
    assert checks[CheckName.LATENCY].outcome is CheckOutcome.PASSED
    assert checks[CheckName.ACCURACY] == ValidationCheck(CheckName.ACCURACY, None, "the artifact has no labelled.json")
    unknown = (await inspection.checks())[CheckName.LATENCY]
    assert unknown.outcome is CheckOutcome.NOT_APPLICABLE
    assert "no baseline latencyMs was registered" in unknown.detail


@pytest.mark.parametrize(("baseline", "passed"), [(0.78, True), (0.8, False), (None, None)])
async def test_accuracy_is_that_of_the_labelled_sample_against_the_baseline(
    inspection: Inspection, baseline: float | None, passed: bool | None
) -> None:
    save_table(inspection.artifact, features=3)
    rows = [{"features": [number % 4 + 1, 0, 0], "label": (number % 4 + 1) * 10} for number in range(300)]
    inspection.labelled(*rows[:225], *({**row, "label": -1} for row in rows[225:]))
    known = {"accuracy": baseline} if baseline is not None else {}
    check = (await inspection.checks(baseline=known))[CheckName.ACCURACY]
    assert check.passed is passed
    assert check.detail.startswith("0.75 (225 of 300 in labelled.json)")


async def test_a_labelled_row_that_can_not_be_answered_fails_by_its_number(inspection: Inspection) -> None:
    save_table(inspection.artifact, features=3)
    inspection.labelled({"features": ROW, "label": 10}, {"features": [1, 2], "label": 10})
    check = (await inspection.checks(baseline={"accuracy": 0.5}))[CheckName.ACCURACY]
    assert (check.passed, "row 1: features" in check.detail) == (False, True)


async def test_what_can_not_be_loaded_leaves_the_rest_unsaid(inspection: Inspection) -> None:
    (inspection.artifact / "model.onnx").write_text("no graph")
    checks = await inspection.checks(loads=False)
    outcomes = [check.outcome for check in checks.values()]
    assert outcomes == [
        *[CheckOutcome.PASSED] * 4,
        *[CheckOutcome.NOT_APPLICABLE, CheckOutcome.FAILED],
        *[CheckOutcome.NOT_APPLICABLE] * 6,
    ]
    assert checks[CheckName.ACCURACY].detail == "not looked at, since this failed: model loads"


async def test_an_artifact_over_the_limit_is_not_even_fetched(
    inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stored, "stored", 3 * 1024**3)
    checks = await inspection.checks(loads=False)
    assert checks[CheckName.SIZE] == ValidationCheck(
        CheckName.SIZE, False, "3,221,225,472 bytes, of 2,147,483,648 allowed"
    )
    assert checks[CheckName.CHECKSUM].outcome is CheckOutcome.NOT_APPLICABLE
