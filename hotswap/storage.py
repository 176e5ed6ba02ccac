"""Artifacts in S3 or MinIO, always as streams: an artifact is never whole in memory.

Errors are mapped by HTTP status, since some S3 servers answer errors that the client can't parse. A missing object is
the request's problem; trouble with the line, the server or the credentials propagates, so that Temporal tries again.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.error import InvalidResponseError, S3Error

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.settings import StorageSettings

CHUNK_BYTES = 1024 * 1024


class ObjectStorage:
    """Blocking: call it from a thread, or from a process of its own."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._client = Minio(
            settings.endpoint,
            access_key=settings.access_key.get_secret_value(),
            secret_key=settings.secret_key.get_secret_value(),
            secure=settings.use_tls,
            # Without it the client asks the server for the bucket's region, which not every server answers.
            region=settings.region,
        )

    def ensure_bucket(self) -> None:
        if not self._client.bucket_exists(self._settings.bucket):
            self._client.make_bucket(self._settings.bucket)

    def is_reachable(self) -> bool:
        return bool(self._client.bucket_exists(self._settings.bucket))

    @property
    def max_artifact_bytes(self) -> int:
        return self._settings.max_artifact_bytes

    def size(self, uri: str) -> int:
        """Of an object, in bytes, without reading it. Raises as `download` does, but for what is too large."""
        bucket, key = split_uri(uri)
        with self._refusals_told(uri):
            return int(self._client.stat_object(bucket, key).size or 0)

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = split_uri(uri)
        self._client.fput_object(bucket, key, str(path))

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        """Stream an object into a file; its sha256 in hex and its size in bytes.

        Raises ValidationFailed naming `artifactPath` when it isn't there or is larger than the settings allow, and
        Unavailable when the credentials are refused: that is nobody's request's fault, and may be mended.
        """
        bucket, key = split_uri(uri)
        limit = self.max_artifact_bytes
        digest, size = hashlib.sha256(), 0
        too_large = ValidationFailed.of("artifactPath", f"{uri} is larger than {limit} bytes")
        with self._refusals_told(uri):
            response = self._client.get_object(bucket, key)
        try:
            if int(response.headers.get("content-length", 0)) > limit:
                raise too_large
            with path.open("wb") as file:
                for chunk in response.stream(CHUNK_BYTES):
                    size += len(chunk)
                    if size > limit:
                        raise too_large
                    digest.update(chunk)
                    file.write(chunk)
        finally:
            response.close()
            response.release_conn()
        return digest.hexdigest(), size

    @contextmanager
    def _refusals_told(self, uri: str) -> Iterator[None]:
        try:
            yield
        except (S3Error, InvalidResponseError) as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                raise ValidationFailed.of("artifactPath", f"there is no object {uri}") from None
            if _status(error) == HTTPStatus.FORBIDDEN:
                raise Unavailable(
                    f"S3 at {self._settings.endpoint} refuses the credentials for {uri}; "
                    "check HOTSWAP_STORAGE__ACCESS_KEY, its SECRET_KEY, and what they may read"
                ) from None
            raise


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as (bucket, key). Raises ValidationFailed naming `artifactPath`."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme != "s3" or not parts.netloc or not key or parts.query or parts.fragment:
        raise ValidationFailed.of("artifactPath", f"{uri!r} is not of the form s3://bucket/key")
    return parts.netloc, key


def _status(error: S3Error | InvalidResponseError) -> int:
    """The HTTP status: the client keeps it elsewhere when it can't parse the answer."""
    return int(error.response.status if isinstance(error, S3Error) else error._code)
