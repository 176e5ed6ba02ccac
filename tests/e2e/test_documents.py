"""The documents' shell blocks, run by bash as they stand and in order, against the session's stack.

Every block of README.md and docs/ is run but those whose fence says `not run: <why>`; within a document they share one
shell, as they do on a reader's screen. An answer of HTTP 400 and above fails a block, as does any exit code but 0.
What is around a document is made here: the archive that the README uploads, of a version that can be asked with the
two features it sends. Needs curl and jq: `apt-get install curl jq`.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from tests.fixtures import mc
from tests.fixtures.documents import ROOT, ShellBlock, documents, shell_blocks
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack
from tests.fixtures.work import ended

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ARCHIVE = "fraud-detection-v2.0.tar.gz"
MODEL = "fraud-detection"

TO_RUN = [(path, blocks) for path in documents() if (blocks := [b for b in shell_blocks(path) if b.is_run])]


def pack(path: Path) -> None:
    """A classifier of two features."""
    rows = np.array([[0.1, 0.2], [0.9, 0.8], [0.2, 0.1], [0.8, 0.9]], dtype=np.float32)
    model = to_onnx(LogisticRegression().fit(rows, [0, 1, 0, 1]), rows[:1], options={"zipmap": False}, target_opset=17)
    content = model.SerializeToString()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("model.onnx")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: a checkout, with the archive that is to be uploaded."""
    made = tmp_path_factory.mktemp("reader")
    (made / ".venv").symlink_to(Path(sys.prefix))
    pack(made / ARCHIVE)
    return made


def run(blocks: list[ShellBlock], *, stack: Stack, place: Path) -> None:
    script = [
        'curl() { command curl --fail-with-body --silent --show-error "$@"; }',
        mc.define(),
        f'eval "$("{Path(sys.executable).parent / "hotswap"}" env --shell)"',
    ]
    for block in blocks:
        script += [f'echo "--- {block.document}:{block.line}" >&2', block.text]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "HOTSWAP_DATA_DIR": str(stack.data),
    }
    done = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(240),
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}\n{done.stdout}"


@pytest.mark.parametrize("s3_client", [mc.CLIENT])
@pytest.mark.parametrize(("path", "blocks"), TO_RUN, ids=[str(path.relative_to(ROOT)) for path, _ in TO_RUN])
def test_what_a_document_types_works(
    stack: Stack, place: Path, path: Path, blocks: list[ShellBlock], s3_client: str
) -> None:
    for needed in ("curl", "jq"):
        assert shutil.which(needed), f"the documents type `{needed}`: apt-get install curl jq"
    if path.name == "README.md":
        run(blocks, stack=stack, place=place)
        assert stack.api.models.get(MODEL).active_version == "2.0.0"
        assert stack.api.inference.infer(MODEL, [0.1, 0.2]).version == "2.0.0"
        return
    as_the_readme_leaves_it(stack, place)
    run(blocks, stack=stack, place=place)
    wait_until(lambda: not under_way(stack), what="the end of what the document started")


def as_the_readme_leaves_it(stack: Stack, place: Path) -> None:
    """Also where this document is tested alone: 2.0.0 serves, 2.1.0 is registered."""
    if any(model.name == MODEL and model.active_version for model in stack.api.models.list(limit=200).items):
        return
    uri = f"s3://ml-models/{MODEL}/{ARCHIVE}"
    stack.storage.upload(place / ARCHIVE, uri)
    for version in ("2.0.0", "2.1.0"):
        stack.api.models.register(RegisterVersion(name=MODEL, version=version, framework="ONNX", artifact_path=uri))
        stack.api.versions.await_registration(MODEL, version)
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="2.0.0")).deployment_id)
    assert first.status is DeploymentStatus.ACTIVE, first.message


def under_way(stack: Stack) -> bool:
    return any(not each.status.is_terminal for each in stack.api.deployments.list(model=MODEL).items)
