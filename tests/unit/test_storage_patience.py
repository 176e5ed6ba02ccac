"""How long who asks S3 for something waits for it."""

import http.server
import time
from collections.abc import Iterator

import pytest

from hotswap.domain.errors import Unavailable
from hotswap.settings import StorageSettings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import IMPATIENT, ObjectStorage, Patience, s3_client
from tests.fixtures.listening import listening

PATIENCE = Patience(connect=1, read=0.1, retries=1)


class _Slow(http.server.BaseHTTPRequestHandler):
    """Takes longer than `PATIENCE`, and less than completing an upload may."""

    def _answer(self) -> None:
        time.sleep(0.3)
        body = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_HEAD = _answer  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the test's output is the test's."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            """Who asked has given up, which is what is tested."""


@pytest.fixture
def slow() -> Iterator[StorageSettings]:
    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)) as server:
        told = {"endpoint": f"127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s"}
        yield StorageSettings.model_validate(told)


@pytest.mark.slow
def test_only_completing_an_upload_may_take_long(slow: StorageSettings) -> None:
    with pytest.raises(Unavailable):
        ObjectStorage(slow, PATIENCE).size("s3://ml-models/m.tar")
    uploads = MultipartUploads(slow, PATIENCE)
    with pytest.raises(Unavailable):
        uploads.begin("m.tar")
    uploads.complete("m.tar", "u", {})


@pytest.mark.parametrize("authority", [None, "/etc/hotswap/ca.pem"])
def test_the_impatient_believe_the_same_certificates(authority: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if authority is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", authority)
    settings = StorageSettings.model_validate({"access_key": "k", "secret_key": "s"})
    patient, impatient = (
        s3_client(settings, patience=patience)._http.connection_pool_kw for patience in (None, IMPATIENT)
    )
    said = {"timeout", "retries"}
    assert {**impatient, **dict.fromkeys(said)} == {**patient, **dict.fromkeys(said)}
    assert authority is None or impatient["ca_certs"] == authority
