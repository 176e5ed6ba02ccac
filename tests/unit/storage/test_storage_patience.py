"""How long who asks S3 for something waits for it, and whom it believes: the same of both clients."""

import http.server
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from botocore.exceptions import SSLError
from urllib3.exceptions import MaxRetryError

from hotswap.domain.errors import Unavailable
from hotswap.settings import StorageSettings
from hotswap.storage import objects, parts_client
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import PATIENT, ObjectStorage, Patience
from tests.fixtures.certificates import Authority
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


class _Failing(http.server.BaseHTTPRequestHandler):
    """Says 503, as often as it is asked."""

    asked: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        type(self).asked += 1
        self.send_response(503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the test's output is the test's."""


class _Quick(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the test's output is the test's."""


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


class _Stalling(http.server.BaseHTTPRequestHandler):
    """Sends half of an artifact, and nothing more."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        self.wfile.flush()
        self.rfile.read()  # until who asked has given up

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the test's output is the test's."""


@pytest.mark.slow
def test_a_download_that_hangs_ends_by_its_own_time_out(tmp_path: Path) -> None:
    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stalling)) as server:
        told = {"endpoint": f"127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s"}
        storage = ObjectStorage(StorageSettings.model_validate(told), PATIENCE)
        with pytest.raises(Unavailable):
            storage.download("s3://ml-models/m.tar", tmp_path / "m.tar")


def test_nobody_waits_for_as_long_as_the_library_does() -> None:
    """It gives a connection and an answer five minutes each, and tries again five times."""
    (default,) = ObjectStorage.__init__.__defaults__ or ()
    assert default is PATIENT
    assert (1 + PATIENT.retries) * max(PATIENT.connect, PATIENT.read) <= 120


def by_minio(settings: StorageSettings, patience: Patience | None) -> None:
    objects.s3_client(settings, patience=patience).bucket_exists("ml-models")


def by_botocore(settings: StorageSettings, patience: Patience | None) -> None:
    parts_client.s3_client(settings, patience=patience).head_bucket(Bucket="ml-models")


@pytest.mark.slow
@pytest.mark.parametrize("ask", [by_minio, by_botocore])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_server_that_fails_is_asked_again_as_often_as_is_said(
    ask: Callable[[StorageSettings, Patience | None], None], retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Failing, "asked", 0)
    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Failing)) as server:
        told = {"endpoint": f"127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s"}
        with pytest.raises(Exception, match="503"):
            ask(StorageSettings.model_validate(told), Patience(connect=1, read=1, retries=retries))
    assert _Failing.asked == 1 + retries


@pytest.mark.slow
@pytest.mark.parametrize(("ask", "refusal"), [(by_minio, MaxRetryError), (by_botocore, SSLError)])
@pytest.mark.parametrize("patience", [None, PATIENCE])
@pytest.mark.parametrize("is_trusted", [True, False])
def test_however_patient_it_believes_the_certificates_of_the_environment(
    ask: Callable[[StorageSettings, Patience | None], None],
    refusal: type[Exception],
    patience: Patience | None,
    is_trusted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, certificate, key = Authority(tmp_path), tmp_path / "tls.crt", tmp_path / "tls.key"
    authority.issue(certificate, key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    else:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quick)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with listening(server):
        told = {"endpoint": f"127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s", "use_tls": True}
        settings = StorageSettings.model_validate(told)
        if is_trusted:
            ask(settings, patience)
        else:
            with pytest.raises(refusal, match="CERTIFICATE_VERIFY_FAILED"):
                ask(settings, patience)
