"""What an S3 server refuses is told as what it is: a missing object, or credentials that it doesn't take."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage
from tests.fixtures.s3 import S3Server

URI = "s3://ml-models/fraud.tar.gz"

REPLICA = """
import json, os, sys
from pathlib import Path
from hotswap.settings import StorageSettings
from hotswap.storage.objects import ObjectStorage
told = {name: os.environ["HOTSWAP_STORAGE__" + name.upper()] for name in ("endpoint", "access_key", "secret_key")}
ObjectStorage(StorageSettings.model_validate(told)).download(sys.argv[2], Path(sys.argv[1]))
print(json.dumps(sorted(sys.modules)))
"""
"""A process that does with S3 what a replica does, and tells what it has loaded."""


def test_what_is_uploaded_is_downloaded(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # S3 is one of our own servers
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    uploads = MultipartUploads(s3.settings())
    assert uploads.parts("m.tar", uploads.begin("m.tar")) == {}
    storage = ObjectStorage(s3.settings())
    (tmp_path / "up").write_bytes(b"content")
    storage.upload(tmp_path / "up", URI)
    assert storage.download(URI, tmp_path / "down")[1] == 7
    assert (tmp_path / "down").read_bytes() == b"content"


@pytest.mark.slow
def test_who_only_downloads_never_imports_the_client_of_uploads(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"content")
    storage = s3.settings()
    ObjectStorage(storage).upload(tmp_path / "up", URI)
    environment = {
        "HOTSWAP_STORAGE__ENDPOINT": storage.endpoint,
        "HOTSWAP_STORAGE__ACCESS_KEY": storage.access_key.get_secret_value(),
        "HOTSWAP_STORAGE__SECRET_KEY": storage.secret_key.get_secret_value(),
    }
    done = subprocess.run(
        [sys.executable, "-c", REPLICA, str(tmp_path / "down"), URI],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "down").read_bytes() == b"content"
    loaded = json.loads(done.stdout)
    assert "minio" in loaded
    assert "botocore" not in loaded


def test_a_bucket_is_made_once(s3: S3Server) -> None:
    storage = ObjectStorage(s3.settings(bucket="other-models"))
    assert not storage.is_reachable()
    for _ in range(2):
        storage.ensure_bucket()
        assert storage.is_reachable()


def test_objects_are_told_by_prefix_and_age_and_removed(s3: S3Server, tmp_path: Path) -> None:
    storage = ObjectStorage(s3.settings())
    (tmp_path / "up").write_bytes(b"content")
    here, elsewhere = "s3://ml-models/uploads/a b/ü+1.tar", "s3://ml-models/other.tar"
    for uri in (here, elsewhere):
        storage.upload(tmp_path / "up", uri)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert [(found.uri, found.size_bytes) for found in storage.objects("uploads/", before=later)] == [(here, 7)]
    assert list(storage.objects("uploads/", before=later - timedelta(hours=1))) == []
    for _ in range(2):
        storage.remove(here)
    assert [found.uri for found in storage.objects("", before=later)] == [elsewhere]


@pytest.mark.parametrize("uri", [URI, "s3://no-such-bucket/fraud.tar.gz"])
def test_a_missing_object_is_the_requests_fault(s3: S3Server, tmp_path: Path, uri: str) -> None:
    with pytest.raises(ValidationFailed, match="there is no object") as refusal:
        ObjectStorage(s3.settings()).download(uri, tmp_path / "down")
    assert refusal.value.details[0].field == "artifactPath"


@pytest.mark.parametrize("uri", ["s3://b/fraud.tar.gz", "s3://Not_A_Bucket!/fraud.tar.gz", "s3://ml-models/a/../b"])
def test_a_name_that_no_s3_takes_is_the_requests_fault(s3: S3Server, tmp_path: Path, uri: str) -> None:
    storage = ObjectStorage(s3.settings())
    for ask in (lambda: storage.download(uri, tmp_path / "down"), lambda: storage.size(uri)):
        with pytest.raises(ValidationFailed) as refusal:
            ask()
        assert refusal.value.details[0].field == "artifactPath"


def test_what_is_too_large_is_refused_before_it_is_fetched(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"content")
    storage = ObjectStorage(s3.settings(max_artifact_bytes=6))
    storage.upload(tmp_path / "up", URI)
    with pytest.raises(ValidationFailed, match=r"fraud\.tar\.gz is larger than 6 bytes") as refusal:
        storage.download(URI, tmp_path / "down")
    assert refusal.value.details[0].field == "artifactPath"
    assert not (tmp_path / "down").exists()


@pytest.mark.parametrize("wrong", [{"secret_key": "not-the-secret"}, {"access_key": "not-the-key"}])
def test_refused_credentials_are_nobodys_missing_object(s3: S3Server, tmp_path: Path, wrong: dict[str, str]) -> None:
    settings = s3.settings(**wrong)
    with pytest.raises(Unavailable, match=r"refuses the credentials.*HOTSWAP_STORAGE__") as refusal:
        ObjectStorage(settings).download(URI, tmp_path / "down")
    assert settings.endpoint in refusal.value.message
    assert not any(secret in refusal.value.message for secret in wrong.values())
