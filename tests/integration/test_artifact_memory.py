"""An artifact is never whole in memory: not where it is registered, and not in the process that loads it."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from tests.fixtures.models import save_identity
from tests.fixtures.s3 import S3Server

MB = 10**6
MOST = 300 * MB
"""Of each process, whatever the artifact's size."""


def put(s3: S3Server, scratch: Path, *, size: int) -> str:
    """A small graph beside as much as makes an archive of nearly this size, which no compression helps."""
    save_identity(scratch, TensorProto.FLOAT, ["n", 3])
    path = s3.directory / "ml-models" / "large.tar"
    with tarfile.open(path, "w") as archive, Path("/dev/urandom").open("rb") as random:
        archive.add(scratch / "model.onnx", "model.onnx")
        ballast = tarfile.TarInfo("ballast.bin")
        ballast.size = size - 64 * 1024
        archive.addfile(ballast, random)
    return "s3://ml-models/large.tar"


def registered(s3: S3Server, uri: str, cache: Path, *, by: str) -> dict[str, Any]:
    storage = s3.settings()
    secret = {name: getattr(storage, name).get_secret_value() for name in ("access_key", "secret_key")}
    settings = json.dumps({**storage.model_dump(mode="json"), **secret})
    return taken(by, settings, uri, str(cache))


def taken(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.memory", *words], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_a_registration_takes_does_not_grow_with_the_artifact(s3: S3Server, tmp_path: Path) -> None:
    found = registered(s3, put(s3, tmp_path, size=64 * MB), tmp_path / "cache", by="register")
    assert 63 * MB < found["size"] <= 64 * MB
    assert found["peak"] - found["before"] < 32 * MB
    assert found["peak"] < MOST
    assert found["child"]["passed"], found["child"]["detail"]


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_two_gibibytes_register_in_less_than_300_megabytes(s3: S3Server, tmp_path: Path) -> None:
    found = registered(s3, put(s3, tmp_path, size=2 * 1024**3), tmp_path / "cache", by="worker")
    assert found["size"] > 2 * 1024**3 - 128 * 1024
    assert found["peak"] < MOST, found
    assert found["child"]["passed"], found["child"]["detail"]
