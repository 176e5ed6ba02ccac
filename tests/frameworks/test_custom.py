"""Models by the artifact's own code: refused unless the operator allows it, and then asked like any other."""

import sys
from pathlib import Path

import pytest

from hotswap.domain.application import ArtifactRef
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import ValidationCheck
from hotswap.domain.vocabulary import Framework
from hotswap.settings import ServingSettings
from serving.artifacts import ArtifactCache
from serving.inspection import SubprocessInspector
from serving.runtimes import Prediction, Terms, load
from tests.fixtures.s3 import Stored

ALLOWED = Terms(custom_code=True)
MODEL = """
from custom_helper import LABELS

class Model:
    input_schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

    def predict(self, instances):
        return [{"prediction": LABELS[len(each["text"]) > 5], "confidence": 0.75} for each in instances]

def load(directory):
    assert (directory / "model.py").exists()
    return Model()
"""


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (place := tmp_path / ("a" * 64)).mkdir()
    (place / "model.py").write_text(MODEL)
    (place / "custom_helper.py").write_text("LABELS = {False: 'short', True: 'long'}")
    (place / "golden.json").write_text('[{"features": {"text": "a"}, "prediction": "short"}]')
    return place


def test_it_is_refused_with_the_setting_that_would_allow_it(artifact: Path) -> None:
    with pytest.raises(ValidationFailed, match="HOTSWAP_SERVING__ALLOW_CUSTOM_CODE=true") as refused:
        load(Framework.CUSTOM, artifact, Terms.of(ServingSettings()))
    assert refused.value.details[0].field == "framework"


def test_it_answers_values_or_values_with_a_confidence(artifact: Path) -> None:
    model = load(Framework.CUSTOM, artifact, ALLOWED)
    assert model.predict([{"text": "a" * 9}]) == [Prediction("long", 0.75)]
    (artifact / "model.py").write_text(
        MODEL.replace('{"prediction": LABELS', "(LABELS").replace(', "confidence": 0.75}', ")")
    )
    assert load(Framework.CUSTOM, artifact, ALLOWED).predict([{"text": "a"}]) == [Prediction("short", None)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def load(directory): return object()", "needs predict"),
        ("import absent_module", "No module named 'absent_module'"),
        ("x = ", "model.py can't be loaded"),
        ("", "has no attribute 'load'"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(artifact: Path, text: str, why: str) -> None:
    (artifact / "model.py").write_text(text)
    with pytest.raises(ValidationFailed, match=why):
        load(Framework.CUSTOM, artifact, ALLOWED)


@pytest.mark.parametrize(
    ("allowed", "golden", "said"),
    [
        (True, True, {"model loads": True, "golden requests": True}),
        (True, False, {"model loads": True, "golden requests": True}),
        (False, True, {"model loads": False}),
    ],
)
async def test_validation_looks_at_it_in_a_process_of_its_own(
    artifact: Path, allowed: bool, golden: bool, said: dict[str, bool]
) -> None:
    if not golden:
        (artifact / "golden.json").unlink()
    found = await validated(artifact, Terms(custom_code=allowed))
    assert {name: found[name].passed for name in said} == said


async def test_a_schema_that_no_request_can_be_made_up_from_needs_golden_ones(artifact: Path) -> None:
    (artifact / "model.py").write_text(MODEL.replace('"type": "object", ', ""))
    assert (await validated(artifact, ALLOWED))["golden requests"].passed
    (artifact / "golden.json").unlink()
    found = (await validated(artifact, ALLOWED))["model loads"]
    assert (found.passed, found.detail) == (
        False, "no request can be made up from its schema: golden.json must have one"
    )  # fmt: skip


async def validated(artifact: Path, terms: Terms) -> dict[str, ValidationCheck]:
    inspector = SubprocessInspector(ArtifactCache(artifact.parent, Stored()), max_memory_bytes=4 * 1024**3, terms=terms)
    ref = ArtifactRef("s3://ml-models/m.tar.gz", artifact.name, 1)
    report = await inspector.validate(VersionRef("v", "m", "m", "1.0.0", Framework.CUSTOM, ref, {}, {}))
    return {check.name: check for check in report.checks}
