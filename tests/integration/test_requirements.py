"""Packages of a version's own: resolved by pip from a folder of wheels, seen by the model in its inspecting process."""

import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from ray.runtime_env import RuntimeEnv

from hotswap.domain.application import ApplicationSpec, ArtifactRef, Desired
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import CheckName, CheckOutcome, ValidationCheck
from hotswap.domain.vocabulary import Environment, Framework
from hotswap.storage.objects import ObjectStorage
from serving.artifacts import ArtifactCache
from serving.inspection import SubprocessInspector
from serving.ray.client import application_config
from serving.requirements import lacking, resolve, said_by
from serving.runtimes import Terms
from tests.fixtures.s3 import Stored

MODEL = """
import hotswap_test_words

class Model:
    input_schema = {"type": "string"}

    def predict(self, instances):
        return [hotswap_test_words.length(each) for each in instances]

def load(directory):
    return Model()
"""


def wheel(directory: Path, name: str, version: str, code: str = "", needs: str = "") -> None:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pip is configured with: no index but a folder."""
    (place := tmp_path / "wheels").mkdir()
    wheel(place, "hotswap_test_words", "1.2.0", "from hotswap_test_base import length", "hotswap_test_base>=2")
    wheel(place, "hotswap_test_words", "2.0.0", "length = None")
    wheel(place, "hotswap_test_base", "2.1.0", "length = len")
    wheel(place, "ray", "99.0.0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


PINS = ("hotswap-test-base==2.1.0", "hotswap-test-words==1.2.0")


@pytest.mark.usefixtures("index")
async def test_they_become_exact_versions_with_all_that_they_need() -> None:
    assert await resolve(["hotswap-test-words<2"]) == PINS
    assert await resolve(["numpy"]) == (), "is there already"


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        ("hotswap-test-words>=3", "pip can't install them: .*No matching distribution found"),
        ("ray>=99", "would replace ray by 99.0.0"),
    ],
)
async def test_what_can_not_be_had_is_refused_with_the_reason(requirement: str, why: str) -> None:
    with pytest.raises(ValidationFailed, match=why) as refused:
        await resolve([requirement])
    assert refused.value.details[0].field == "requirements"


@pytest.mark.parametrize(
    "requirement",
    [
        "-r /etc/passwd",
        "--index-url=https://example.com",
        "x @ file:///etc",
        "git+https://example.com/x",
        "./x",
        "",
        "a b",
    ],
)
async def test_nothing_but_names_and_versions_gets_to_pip(requirement: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await resolve([requirement])
    assert refused.value.details[0].field == "requirements"


class Uploaded(Stored):
    """An artifact that nobody knows yet."""

    def __init__(self, archive: Path) -> None:
        super().__init__()
        self._archive = archive

    def download(self, uri: str, to: Path) -> tuple[str, int]:
        to.write_bytes(self._archive.read_bytes())
        return "a" * 64, to.stat().st_size


@pytest.fixture
def storage(tmp_path: Path) -> ObjectStorage:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("model.py", MODEL)
        archive.writestr("golden.json", '[{"features": "four", "prediction": 4}]')
    return Uploaded(tmp_path / "model.zip")


def inspector(tmp_path: Path, storage: ObjectStorage, *, allowed: bool) -> SubprocessInspector:
    return SubprocessInspector(
        ArtifactCache(tmp_path / "cache", storage),
        max_memory_bytes=4 * 1024**3,
        terms=Terms(custom_code=True),
        allow_requirements=allowed,
    )


@pytest.mark.usefixtures("index")
async def test_a_registration_with_them_is_looked_into_and_validated_with_what_they_became(
    tmp_path: Path, storage: ObjectStorage
) -> None:
    looks = inspector(tmp_path, storage, allowed=True)
    look = partial(looks.inspect, "s3://ml-models/m.zip", framework=Framework.CUSTOM, expected_sha256=None)
    with pytest.raises(ValidationFailed, match="No module named 'hotswap_test_words'"):
        await look()
    found = await look(requirements=["hotswap-test-words<2"])
    assert found.requirements == PINS
    version = VersionRef(
        *("v", "m", "m", "1.0.0", Framework.CUSTOM), found.artifact, found.input_schema, {}, requirements=PINS
    )
    report = {check.name: check for check in (await looks.validate(version)).checks}
    assert report[CheckName.REQUIREMENTS] == ValidationCheck(
        CheckName.REQUIREMENTS, True, f"installed: {', '.join(PINS)}"
    )
    assert report[CheckName.GOLDEN].outcome is CheckOutcome.PASSED
    off = {check.name: check for check in (await inspector(tmp_path, storage, allowed=False).validate(version)).checks}
    assert off[CheckName.REQUIREMENTS].outcome is CheckOutcome.FAILED
    assert off[CheckName.LOADS].detail == "not looked at, since this failed: requirements"


async def test_without_the_setting_they_are_refused_with_its_name(tmp_path: Path, storage: ObjectStorage) -> None:
    looks = inspector(tmp_path, storage, allowed=False)
    with pytest.raises(ValidationFailed, match="HOTSWAP_SERVING__ALLOW_REQUIREMENTS=true") as refused:
        await looks.inspect("s3://a/b", framework=Framework.CUSTOM, expected_sha256=None, requirements=["x"])
    assert refused.value.details[0].field == "requirements"


def test_they_are_a_runtime_env_that_ray_takes() -> None:
    artifact = ArtifactRef("s3://ml-models/m.zip", "a" * 64, 1)
    spec = ApplicationSpec("m", "d", Environment.PRODUCTION, "m", "1.0.0", Framework.CUSTOM, artifact, {}, {})
    (deployment,) = application_config(Desired.at_rest(spec))["deployments"]
    assert "runtime_env" not in deployment["ray_actor_options"]
    brings = replace(spec, requirements=PINS)
    (deployment,) = application_config(Desired.at_rest(brings))["deployments"]
    given = RuntimeEnv(**deployment["ray_actor_options"]["runtime_env"])
    assert given.pip_config()["packages"] == list(PINS)
    assert "--no-deps" in given.pip_config()["pip_install_options"]


def test_an_mlflow_directory_says_what_it_asks_for_and_what_isnt_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")
    (tmp_path / "requirements.txt").write_text(
        "mlflow==3.18.0\nnumpy>1\n# a comment\n--index-url x\nscipy==0.1  # old\nhotswap-test-absent==1\n"
    )
    asked = said_by(tmp_path)
    assert asked == ("numpy>1", "scipy==0.1", "hotswap-test-absent==1")
    scipy, absent = lacking(asked)
    assert scipy.startswith("scipy==0.1 (1.")
    assert absent == "hotswap-test-absent==1 (not installed)"
