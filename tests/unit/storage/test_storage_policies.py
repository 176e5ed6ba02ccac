"""The policies of docs/model-storage.md against the requests that the code makes: enough for each part, and no more.

S3 is stood in for by canned answers, since no S3 among the tests' servers knows policies; which request needs which
right is S3's documentation (the service authorization reference's actions for each API operation).
"""

import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage
from tests.fixtures.documents import ROOT

pytestmark = pytest.mark.slow  # each asks a client of S3

PAGE = (ROOT / "docs" / "model-storage.md").read_text()
BLOCKS = {
    name: json.loads(text) for name, text in re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
}

KEY, UPLOADED = "fraud/v2/model.tar.gz", "uploads/fraud/0a1b/model.tar.gz"
ANSWERS = {
    "uploads": b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    "list-type": b"<ListBucketResult><Name>ml-models</Name></ListBucketResult>",
    "uploadId": b"<ListPartsResult></ListPartsResult>",
    "GET uploads": b"<ListMultipartUploadsResult></ListMultipartUploadsResult>",
}
FOR_A_404 = {"s3:ListBucket"}
"""Of the worker: no request needs it, but without it S3 says 403 of an object that isn't there."""

Asked = set[tuple[str, str]]


def action(method: str, key: str, query: Mapping[str, str]) -> str:
    match method, bool(key):
        case "GET", True if "uploadId" in query:
            return "s3:ListMultipartUploadParts"
        case (("GET" | "HEAD"), True):
            return "s3:GetObject"
        case (("PUT" | "POST"), True):
            return "s3:PutObject"  # also of a part, and what begins and completes an upload of parts
        case "DELETE", True:
            return "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
        case "GET", False if "uploads" in query:
            return "s3:ListBucketMultipartUploads"
        case (("GET" | "HEAD"), False):
            return "s3:ListBucket"
    raise AssertionError(f"which right does {method} {key or 'the bucket'} {query} need?")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The rights that requests to S3 need, each with its resource."""
    seen: Asked = set()

    def answer(_: Any, method: str, url: str, **__: Any) -> urllib3.HTTPResponse:
        parts = urllib3.util.parse_url(url)
        bucket, _, key = (parts.path or "/").lstrip("/").partition("/")
        query = dict(each.partition("=")[::2] for each in (parts.query or "").split("&") if each)
        seen.add((action(method, key, query), f"arn:aws:s3:::{bucket}{'/' if key else ''}{key}"))
        kind = next((name for name in ("list-type", "uploadId", "uploads") if name in query), "")
        body = ANSWERS.get(f"{method} {kind}", ANSWERS.get(kind, b""))
        if method == "POST" and kind == "uploadId":
            body = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        told = {
            "etag": "e",
            "content-type": "application/xml",
            "content-length": str(len(body)),
            "last-modified": "Fri, 27 Nov 2026 12:00:00 GMT",
        }
        return urllib3.HTTPResponse(io.BytesIO(body), headers=told, status=HTTPStatus.OK, preload_content=False)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", answer)
    return seen


@pytest.fixture
def storage() -> StorageSettings:
    return StorageSettings.model_validate({"access_key": "key", "secret_key": "secret"})


def replica(settings: StorageSettings, directory: Path) -> None:
    ObjectStorage(settings).download(f"s3://ml-models/{KEY}", directory / "archive")


def worker(settings: StorageSettings, directory: Path) -> None:
    ObjectStorage(settings).size(f"s3://ml-models/{KEY}")
    ObjectStorage(settings).download(f"s3://ml-models/{KEY}", directory / "archive")


def api(settings: StorageSettings, _: Path) -> None:
    storage, uploads, now = ObjectStorage(settings), MultipartUploads(settings), datetime.now(UTC)
    storage.is_reachable()
    upload = uploads.begin(UPLOADED)
    there = uploads.parts(UPLOADED, upload) or {}
    address = urlsplit(uploads.url(UPLOADED, upload, 1))
    urllib3.HTTPConnectionPool("s3").urlopen(method="PUT", url=f"{address.path}?{address.query}")
    uploads.complete(UPLOADED, upload, there)
    storage.size(f"s3://ml-models/{UPLOADED}")
    list(storage.objects("uploads/", before=now))
    list(uploads.abandoned("uploads/", before=now))
    uploads.abort(UPLOADED, upload)
    storage.remove(f"s3://ml-models/{UPLOADED}")


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("part", "works", "beside"), [("replica", replica, set()), ("worker", worker, FOR_A_404), ("api", api, set())]
)
def test_a_part_may_do_what_it_does_and_no_more(
    part: str, works: Any, beside: set[str], asked: Asked, storage: StorageSettings, tmp_path: Path
) -> None:
    works(storage, tmp_path)
    allowed = [
        (right, resource)
        for statement in BLOCKS[part]["Statement"]
        for right in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    assert all(statement["Effect"] == "Allow" for statement in BLOCKS[part]["Statement"])
    for right, resource in asked:
        assert any(right == may and fnmatchcase(resource, where) for may, where in allowed), (right, resource)
    needed = {right for right, _ in asked} | beside
    assert {right for right, _ in allowed} == needed


def test_every_setting_of_storage_is_on_the_page() -> None:
    for name in StorageSettings.model_fields:
        assert f"`HOTSWAP_STORAGE__{name.upper()}`" in PAGE


def test_no_rule_of_the_lifecycle_takes_what_is_current() -> None:
    for rule in BLOCKS["lifecycle"]["Rules"]:
        assert rule.keys() & {"Expiration", "Transitions"} == set()
    assert BLOCKS["bucket"]["Statement"][0]["Effect"] == "Deny"
