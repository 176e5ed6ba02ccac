"""Where an S3 is asked and people send parts: Amazon's is by the bucket's own host, every other by the path."""

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from hotswap.domain.errors import ValidationFailed
from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage, split_uri

pytestmark = pytest.mark.slow  # botocore is imported

EUROPE = {"use_tls": True, "region": "eu-central-1"}
AT_EUROPE = "https://ml-models.s3.eu-central-1.amazonaws.com/a/m.tar"

PUBLIC = {"endpoint": "minio:9000", "public_endpoint": "s3.example.com"}
ADDRESSES: list[tuple[dict[str, object], str]] = [
    ({"endpoint": "127.0.0.1:9000"}, "http://127.0.0.1:9000/ml-models/a/m.tar"),
    ({"endpoint": "minio:9000", "use_tls": True}, "https://minio:9000/ml-models/a/m.tar"),
    ({"endpoint": "s3.eu-central-1.amazonaws.com", **EUROPE}, AT_EUROPE),
    ({"endpoint": "s3.amazonaws.com", **EUROPE}, AT_EUROPE),
    # A certificate of `*.s3...` is of no host with another dot in its first name.
    (
        {"endpoint": "s3.eu-central-1.amazonaws.com", "bucket": "ml.models", **EUROPE},
        "https://s3.eu-central-1.amazonaws.com/ml.models/a/m.tar",
    ),
    (
        {"endpoint": "s3.cn-north-1.amazonaws.com.cn", "use_tls": True, "region": "cn-north-1"},
        "https://ml-models.s3.cn-north-1.amazonaws.com.cn/a/m.tar",
    ),
]


@pytest.mark.parametrize(("told", "expected"), [*ADDRESSES, (PUBLIC, "http://minio:9000/ml-models/a/m.tar")])
def test_an_object_is_asked_for_at(
    told: dict[str, object], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    asked: list[str] = []

    def answer(pool: urllib3.HTTPConnectionPool, _: str, url: str, **__: Any) -> urllib3.HTTPResponse:
        is_usual = pool.port in {80, 443}
        asked.append(f"{pool.scheme}://{pool.host}{'' if is_usual else f':{pool.port}'}{url}")
        return urllib3.HTTPResponse(io.BytesIO(b"content"), status=200, preload_content=False)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", answer)
    settings = StorageSettings.model_validate({"access_key": "k", "secret_key": "s", **told})
    ObjectStorage(settings).download(f"s3://{settings.bucket}/a/m.tar", tmp_path / "m.tar")
    assert asked == [expected]


@pytest.mark.parametrize(("told", "expected"), [*ADDRESSES, (PUBLIC, "http://s3.example.com/ml-models/a/m.tar")])
def test_a_part_is_sent_to(told: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    uploads = MultipartUploads(StorageSettings.model_validate({"access_key": "k", "secret_key": "s", **told}))
    url = urlsplit(uploads.url("a/m.tar", "upload-1", 3))
    assert url._replace(query="").geturl() == expected
    query = dict(each.split("=") for each in url.query.split("&"))
    assert query["X-Amz-Credential"].startswith("k%2F")
    assert {name: query[name] for name in ("uploadId", "partNumber", "X-Amz-Expires", "X-Amz-SignedHeaders")} == {
        "uploadId": "upload-1",
        "partNumber": "3",
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",  # so whoever has the address needs nothing else
    }


@pytest.mark.parametrize("uri", ["s3://b", "s3://b/", "https://b/k", "s3://b/a/../k", "s3://b/./k", "s3://b/k?a=b"])
def test_what_is_no_object_is_refused_by_its_field(uri: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        split_uri(uri)
    assert refused.value.details[0].field == "artifactPath"
