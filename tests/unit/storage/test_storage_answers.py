"""An answer of S3 that says 200 and isn't whole, or says no, is never taken for a success."""

import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from hotswap.domain.errors import Unavailable
from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads, Part
from hotswap.storage.objects import ObjectStorage, Patience
from tests.fixtures.listening import listening

IMPATIENT = Patience(connect=1, read=1, retries=0)


class _Says(http.server.BaseHTTPRequestHandler):
    """Answers 200 with `body`, of which it says that it is `more` bytes longer."""

    body: ClassVar[bytes] = b""
    more: ClassVar[int] = 0

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(self.body) + self.more))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = _answer  # noqa: N815 - the base class's names

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
    uploads, parts = MultipartUploads(says, IMPATIENT), {1: Part(7, "e")}
    monkeypatch.setattr(_Says, "body", b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
    uploads.complete("m.tar", "upload-1", parts)
    monkeypatch.setattr(_Says, "body", f"<Error><Code>{code}</Code><Message>again</Message></Error>".encode())
    with pytest.raises(Unavailable):
        uploads.complete("m.tar", "upload-1", parts)


def test_an_upload_without_an_id_is_none(says: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Says, "body", b"<InitiateMultipartUploadResult></InitiateMultipartUploadResult>")
    with pytest.raises(Unavailable):
        MultipartUploads(says, IMPATIENT).begin("m.tar")
