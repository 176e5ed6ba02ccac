"""An answer of S3 that says 200 and isn't whole, or says no, is never taken for a success."""

import http.server
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from hotswap.domain.artifacts import PartsRefused, UploadedPart
from hotswap.domain.errors import HotSwapError, Unavailable, ValidationFailed
from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage, Patience
from tests.fixtures.listening import listening

pytestmark = pytest.mark.slow  # its first call imports botocore

IMPATIENT = Patience(connect=1, read=1, retries=0)


class _Says(http.server.BaseHTTPRequestHandler):
    """Answers 200 with `body`, of which it says that it is `more` bytes longer."""

    status: ClassVar[int] = 200
    kind: ClassVar[str] = "application/xml"
    begun: ClassVar[bytes | None] = None
    """What it says in place of `body` to who begins an upload."""
    body: ClassVar[bytes] = b""
    more: ClassVar[int] = 0

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_beginning = self.command == "POST" and "uploadId" not in self.path
        body = self.begun if self.begun is not None and is_beginning else self.body
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(body) + self.more))
        self.send_header("ETag", "e")
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the test's output is the test's."""


@pytest.fixture
def says() -> Iterator[StorageSettings]:
    with listening(http.server.HTTPServer(("127.0.0.1", 0), _Says)) as server:
        told = {"endpoint": f"127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s"}
        yield StorageSettings.model_validate(told)


def test_an_artifact_that_is_cut_off_is_no_artifact(
    says: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Says, "body", b"content")
    storage = ObjectStorage(says, IMPATIENT)
    assert storage.download("s3://ml-models/m.tar", tmp_path / "whole")[1] == 7
    monkeypatch.setattr(_Says, "more", 1)
    with pytest.raises(Unavailable):
        storage.download("s3://ml-models/m.tar", tmp_path / "cut")


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_an_error_within_200_is_an_error(says: StorageSettings, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """S3 says 200 before it puts the parts together, so that nobody gives up meanwhile."""
    uploads, parts = MultipartUploads(says, IMPATIENT), {1: UploadedPart(7, "e")}
    monkeypatch.setattr(_Says, "body", b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
    uploads.complete("m.tar", "upload-1", parts)
    monkeypatch.setattr(_Says, "body", f"<Error><Code>{code}</Code><Message>again</Message></Error>".encode())
    with pytest.raises(Unavailable):
        uploads.complete("m.tar", "upload-1", parts)


def test_an_error_within_200_is_an_error_of_a_large_file_too(
    says: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of objects sends a large file by parts of its own."""
    storage, large = ObjectStorage(says, IMPATIENT), tmp_path / "large"
    large.write_bytes(bytes(6 * 1024**2))
    begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    monkeypatch.setattr(_Says, "begun", begun)
    monkeypatch.setattr(_Says, "body", b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
    storage.upload(large, "s3://ml-models/m.tar")
    monkeypatch.setattr(_Says, "body", b"<Error><Code>InternalError</Code><Message>again</Message></Error>")
    with pytest.raises(Unavailable):
        storage.upload(large, "s3://ml-models/m.tar")


@pytest.mark.parametrize(
    ("status", "body", "expected", "told"),
    [
        (404, b"not here", ValidationFailed, "there is no object"),
        (403, b"not you", Unavailable, "refuses the credentials"),
        (400, b"what?", Unavailable, "doesn't answer as it should"),
        (403, b"\xff", Unavailable, "doesn't answer as it should"),
        (404, b"", ValidationFailed, "there is no object"),
    ],
)
def test_a_refusal_without_xml_is_known_by_its_status(
    says: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    expected: type[HotSwapError],
    told: str,
) -> None:
    """A proxy in between, or a server that isn't Amazon's, says it in its own words."""
    for name, value in (("status", status), ("kind", "text/plain"), ("body", body)):
        monkeypatch.setattr(_Says, name, value)
    with pytest.raises(expected, match=told):
        ObjectStorage(says, IMPATIENT).download("s3://ml-models/m.tar", tmp_path / "m.tar")


def test_an_upload_without_an_id_is_none(says: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Says, "body", b"<InitiateMultipartUploadResult></InitiateMultipartUploadResult>")
    with pytest.raises(Unavailable):
        MultipartUploads(says, IMPATIENT).begin("m.tar")


@pytest.mark.parametrize("body", [b"", b"<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>"])
def test_an_upload_that_s3_does_not_know_is_over(
    says: StorageSettings, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """It may have ended just before; any other refusal says nothing of it."""
    uploads, now = MultipartUploads(says, IMPATIENT), datetime.now(UTC)
    monkeypatch.setattr(_Says, "body", body)
    monkeypatch.setattr(_Says, "status", 404)
    uploads.abort("m.tar", "u")
    assert uploads.parts("m.tar", "u") is None
    assert list(uploads.abandoned("uploads/", before=now)) == []
    with pytest.raises(PartsRefused):
        uploads.complete("m.tar", "u", {1: UploadedPart(7, "e")})
    monkeypatch.setattr(_Says, "status", 403)
    with pytest.raises(Unavailable):
        uploads.abort("m.tar", "u")
    with pytest.raises(Unavailable):
        uploads.parts("m.tar", "u")
    with pytest.raises(Unavailable):
        list(uploads.abandoned("uploads/", before=now))
    with pytest.raises(Unavailable):
        uploads.complete("m.tar", "u", {1: UploadedPart(7, "e")})
