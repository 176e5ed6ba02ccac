"""What S3 is asked to encrypt by goes with every object that HotSwap writes: rclone, the tests' S3, ignores it."""

import io
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import urllib3
from pydantic import ValidationError

from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage

pytestmark = pytest.mark.slow  # its first call imports botocore

BEGUN = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
COMPLETED = (
    b"<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><ETag>e</ETag></CompleteMultipartUploadResult>"
)
ASKED = "x-amz-server-side-encryption"
KEY = "x-amz-server-side-encryption-aws-kms-key-id"
KMS = {"encryption": "SSE-KMS", "kms_key_id": "key-1", "use_tls": True}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, str]]]:
    """Method, query and headers of each request that would go to S3."""
    seen: list[tuple[str, str, dict[str, str]]] = []

    def answer(_: Any, method: str, url: str, *, headers: Mapping[str, Any], **__: Any) -> urllib3.HTTPResponse:
        query = url.partition("?")[2]
        texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
        seen.append((method, query.partition("=")[0], {name.lower(): value for name, value in texts.items()}))
        body = BEGUN if query.startswith("uploads") else COMPLETED
        told = {"etag": "e", "content-type": "application/xml"}
        return urllib3.HTTPResponse(io.BytesIO(body), headers=told, status=HTTPStatus.OK, preload_content=False)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", answer)
    return seen


def settings(**changes: Any) -> StorageSettings:
    return StorageSettings.model_validate({"access_key": "key", "secret_key": "secret", **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, {}), ({"encryption": "SSE-S3"}, {ASKED: "AES256"}), (KMS, {ASKED: "aws:kms", KEY: "key-1"})],
)
def test_it_is_asked_for_with_whatever_begins_an_object(
    wire: list[tuple[str, str, dict[str, str]]], tmp_path: Path, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    storage, multipart = ObjectStorage(settings(**changes)), MultipartUploads(settings(**changes))
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"content")
    large.write_bytes(bytes(6 * 1024**2))
    storage.upload(small, "s3://bucket/k")
    storage.upload(large, "s3://bucket/k")
    assert multipart.begin("k") == "u"
    begins = [headers for method, query, headers in wire if (method, query) in {("PUT", ""), ("POST", "uploads")}]
    assert len(begins) == 3
    for headers in begins:
        assert {name: value for name, value in headers.items() if name in {ASKED, KEY}} == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"encryption": "SSE-KMS", "use_tls": True},
        {"kms_key_id": "key-1"},
        {"encryption": "SSE-KMS", "kms_key_id": "key-1"},
        {"encryption": "rot13"},
    ],
)
def test_a_setting_that_could_not_be_kept_stops_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
