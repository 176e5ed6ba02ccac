"""Artifacts in S3 or MinIO, always as streams: an artifact is never whole in memory.

Errors are mapped by HTTP status, since some S3 servers answer errors that the client can't parse. A missing object is
the request's problem; trouble with the line, the server or the credentials is `Unavailable`, so that Temporal tries
again. No error of the client library leaves this module.

The client library, minio, is imported when S3 is asked for the first time: it takes a third of a second of a processor,
and neither a replica whose artifact is in the node's cache nor most commands of the CLI ever ask. Uploads by parts are
`multipart.py`'s, with a library that a process which only downloads never imports.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hotswap.domain.artifacts import StoredObject
from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.settings import Encryption, StorageSettings

if TYPE_CHECKING:
    from minio import Minio
    from minio.error import InvalidResponseError, S3Error
    from minio.sse import Sse
    from urllib3 import BaseHTTPResponse, PoolManager

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """Time-outs for S3 to connect and to go on with an answer, in seconds, and the number of retries."""

    connect: float
    read: float
    retries: int


IMPATIENT = Patience(connect=2, read=10, retries=1)
"""The patience of the API, whose callers wait: in all some 20 s."""


PATIENT = Patience(connect=5, read=20, retries=5)
"""The patience of workers and replicas, whose callers don't wait: an S3 that hangs is given up after two minutes."""


class ObjectStorage:
    """Objects in S3. Its methods block: call them from a thread, or from a process of its own."""

    def __init__(self, settings: StorageSettings, patience: Patience = PATIENT) -> None:
        self._settings = settings
        self._patience = patience

    @cached_property
    def _client(self) -> "Minio":
        return s3_client(self._settings, patience=self._patience)

    def ensure_bucket(self) -> None:
        if self.is_reachable():
            return
        with answering(self._settings):
            self._client.make_bucket(self._settings.bucket)

    def is_reachable(self) -> bool:
        """Return whether S3 answers and the bucket is there."""
        with answering(self._settings):
            return bool(self._client.bucket_exists(self._settings.bucket))

    @property
    def max_artifact_bytes(self) -> int:
        return self._settings.max_artifact_bytes

    def uri(self, key: str) -> str:
        """Return the address of a key in the settings' bucket."""
        return f"s3://{self._settings.bucket}/{key}"

    def size(self, uri: str) -> int:
        """Return an object's size in bytes, without reading it.

        Raises like `download`, except for one that is too large.
        """
        bucket, key = split_uri(uri)
        with answering(self._settings), self._refusals_told(uri):
            return int(self._client.stat_object(bucket, key).size or 0)

    def upload(self, path: Path, uri: str) -> None:
        """Send a whole file; `multipart.py` is for what people send themselves."""
        bucket, key = split_uri(uri)
        with answering(self._settings):
            written = self._client.fput_object(bucket, key, str(path), sse=encryption(self._settings))
        # The client takes an answer 200 that holds an error for a success, which then has no tag.
        if not written.etag:
            raise unanswered(self._settings)

    def objects(self, prefix: str, *, before: datetime) -> Iterator[StoredObject]:
        """Return the objects of the settings' bucket below `prefix` that were written before then."""
        bucket = self._settings.bucket
        with answering(self._settings):
            for found in self._client.list_objects(bucket, prefix=prefix, recursive=True):
                if not found.is_dir and found.last_modified is not None and found.last_modified < before:
                    yield StoredObject(self.uri(str(found.object_name)), found.size or 0, found.last_modified)

    def remove(self, uri: str) -> None:
        """Remove an object; one that is gone already is no error. A bucket with versions keeps it as an older one."""
        bucket, key = split_uri(uri)
        with answering(self._settings):
            self._client.remove_object(bucket, key)

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        """Stream an object into a file, and return its sha256 in hex and its size in bytes.

        Raises ValidationFailed naming `artifactPath` when it isn't there or is larger than the settings allow, and
        Unavailable when the credentials are refused: that is not the request's fault, and may be mended.
        """
        bucket, key = split_uri(uri)
        with answering(self._settings):
            with self._refusals_told(uri):
                response = self._client.get_object(bucket, key)
            try:
                return self._written(response, path, uri)
            finally:
                response.close()
                response.release_conn()

    def _written(self, response: "BaseHTTPResponse", path: Path, uri: str) -> tuple[str, int]:
        limit = self.max_artifact_bytes
        digest, size = hashlib.sha256(), 0
        too_large = ValidationFailed.of("artifactPath", f"{uri} is larger than {limit} bytes")
        if int(response.headers.get("content-length", 0)) > limit:
            raise too_large
        with path.open("wb") as file:
            for chunk in response.stream(CHUNK_BYTES):
                size += len(chunk)
                if size > limit:
                    raise too_large
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest(), size

    @contextmanager
    def _refusals_told(self, uri: str) -> Iterator[None]:
        from minio.error import InvalidResponseError, S3Error

        try:
            yield
        except UnicodeDecodeError:  # a ValueError too, but of an answer
            raise
        except ValueError as error:  # the client looks at names before it asks anybody
            raise ValidationFailed.of("artifactPath", f"{uri} can't be asked for: {error}") from None
        except (S3Error, InvalidResponseError) as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                raise ValidationFailed.of("artifactPath", f"there is no object {uri}") from None
            if status_of(error) == HTTPStatus.FORBIDDEN:
                raise Unavailable(
                    f"S3 at {self._settings.endpoint} refuses the credentials for {uri}; "
                    "check HOTSWAP_STORAGE__ACCESS_KEY, its SECRET_KEY, and what they may read"
                ) from None
            raise


@contextmanager
def answering(settings: StorageSettings) -> Iterator[None]:
    """Raise Unavailable for whatever the client library raises of a server that is away or does not do its work.

    What it can't parse it raises as it comes: as an error of XML, or as a ValueError where an element is missing.
    """
    from xml.etree.ElementTree import ParseError

    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, MinioException, ParseError, ValueError) as error:
        raise unanswered(settings) from error


def unanswered(settings: StorageSettings) -> Unavailable:
    """Make the error for an S3 that is away or does not do its work, whichever library asked it."""
    return Unavailable(
        f"the artifact storage, S3 at {settings.endpoint}, doesn't answer as it should; inference goes on without "
        "it, so try again in a moment"
    )


def s3_client(settings: StorageSettings, *, patience: Patience | None = None) -> "Minio":
    """Return a client of the settings' endpoint; without `patience` it has the library's time-outs, minutes."""
    from minio import Minio

    return Minio(
        settings.endpoint,
        access_key=settings.access_key.get_secret_value(),
        secret_key=settings.secret_key.get_secret_value(),
        secure=settings.use_tls,
        # Without it the client asks the server for the bucket's region, which not every server answers.
        region=settings.region,
        http_client=_pool(patience) if patience is not None else None,
    )


def _pool(patience: Patience) -> "PoolManager":
    """Return a pool like the library's own: with the same certificates, and by no proxy of the environment."""
    import certifi
    from urllib3 import PoolManager, Retry, Timeout

    return PoolManager(
        timeout=Timeout(connect=patience.connect, read=patience.read),
        maxsize=10,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=Retry(total=patience.retries, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
    )


def encryption(settings: StorageSettings) -> "Sse | None":
    """Return what S3 is asked to encrypt by, sent with each object; None leaves it to the bucket."""
    from minio.sse import SseKMS, SseS3

    match settings.encryption:
        case Encryption.SSE_S3:
            return SseS3()
        case Encryption.SSE_KMS:
            return SseKMS(settings.kms_key_id or "", {})
        case Encryption.BUCKET:
            return None


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into (bucket, key). Raises ValidationFailed naming `artifactPath`."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    # Whoever sends a path with dots in place of a name may shorten it, and then asks for another object.
    is_straight = not {".", ".."} & set(key.split("/"))
    if parts.scheme != "s3" or not parts.netloc or not key or not is_straight or parts.query or parts.fragment:
        raise ValidationFailed.of("artifactPath", f"{uri!r} is not of the form s3://bucket/key")
    return parts.netloc, key


def status_of(error: "S3Error | InvalidResponseError") -> int:
    """Return the HTTP status, which the client keeps elsewhere when it can't parse the answer."""
    from minio.error import S3Error

    return int(error.response.status if isinstance(error, S3Error) else error._code)
