"""Artifacts in S3 or MinIO, always as streams: an artifact is never whole in memory.

Errors are mapped by HTTP status, since some S3 servers answer errors that the client can't parse. A missing object is
the request's problem; trouble with the line, the server or the credentials is `Unavailable`, so that Temporal tries
again. No error of the client library leaves this module or `uploads.py`.

The client library, botocore, is imported when S3 is asked for the first time: it takes half a second of a processor,
and neither a replica whose artifact is in the node's cache nor most commands of the CLI ever ask.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.settings import Encryption, StorageSettings

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

S3Client = Any
"""botocore makes a client's class from the description of S3's API when the client is created."""

CHUNK_BYTES = 1024 * 1024
AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long S3 may take to be reached and to go on with an answer, in seconds, and how often it is asked again."""

    connect: float
    read: float
    retries: int


IMPATIENT = Patience(connect=2, read=10, retries=1)
"""Of the API, whose callers wait: in all some 20 s."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    uri: str
    size_bytes: int
    modified_at: datetime


class ObjectStorage:
    """Blocking: call it from a thread, or from a process of its own."""

    def __init__(self, settings: StorageSettings, patience: Patience | None = None) -> None:
        self._settings = settings
        self._patience = patience

    @cached_property
    def _client(self) -> S3Client:
        return s3_client(self._settings, patience=self._patience)

    def ensure_bucket(self) -> None:
        if self.is_reachable():
            return
        region = self._settings.region
        # S3 refuses the name of its oldest region here.
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with answering(self._settings):
            self._client.create_bucket(Bucket=self._settings.bucket, **place)

    def is_reachable(self) -> bool:
        """Whether S3 answers and the bucket is there."""
        with answering(self._settings):
            return is_found(lambda: self._client.head_bucket(Bucket=self._settings.bucket))

    @property
    def max_artifact_bytes(self) -> int:
        return self._settings.max_artifact_bytes

    def size(self, uri: str) -> int:
        """Return an object's size in bytes, without reading it.

        Raises like `download`, except for one that is too large.
        """
        bucket, key = split_uri(uri)
        with answering(self._settings), self._refusals_told(uri):
            return int(self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])

    def upload(self, path: Path, uri: str) -> None:
        """At most 5 GiB, which S3 takes as one object; `uploads.py` is for what is larger."""
        bucket, key = split_uri(uri)
        with answering(self._settings), path.open("rb") as file:
            self._client.put_object(Bucket=bucket, Key=key, Body=file, **encryption(self._settings))

    def objects(self, prefix: str, *, before: datetime) -> Iterator[StoredObject]:
        """Return the objects of the settings' bucket below `prefix` that were written before then."""
        bucket = self._settings.bucket
        with answering(self._settings):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    is_folder = found["Key"].endswith("/")
                    if not is_folder and found["LastModified"] < before:
                        yield StoredObject(f"s3://{bucket}/{found['Key']}", found["Size"], found["LastModified"])

    def remove(self, uri: str) -> None:
        """Remove an object; one that is gone already is no error. A bucket with versions keeps it as an older one."""
        bucket, key = split_uri(uri)
        with answering(self._settings):
            self._client.delete_object(Bucket=bucket, Key=key)

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        """Stream an object into a file, and return its sha256 in hex and its size in bytes.

        Raises ValidationFailed naming `artifactPath` when it isn't there or is larger than the settings allow, and
        Unavailable when the credentials are refused: that is not the request's fault, and may be mended.
        """
        bucket, key = split_uri(uri)
        with answering(self._settings):
            with self._refusals_told(uri):
                found = self._client.get_object(Bucket=bucket, Key=key)
            with found["Body"]:
                return self._written(found, path, uri)

    def _written(self, found: Mapping[str, Any], path: Path, uri: str) -> tuple[str, int]:
        limit = self.max_artifact_bytes
        digest, size = hashlib.sha256(), 0
        too_large = ValidationFailed.of("artifactPath", f"{uri} is larger than {limit} bytes")
        if found.get("ContentLength", 0) > limit:
            raise too_large
        with path.open("wb") as file:
            for chunk in found["Body"].iter_chunks(CHUNK_BYTES):
                size += len(chunk)
                if size > limit:
                    raise too_large
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest(), size

    @contextmanager
    def _refusals_told(self, uri: str) -> Iterator[None]:
        from botocore.exceptions import ClientError, ParamValidationError

        try:
            yield
        except ParamValidationError as error:  # the client looks at names before it asks anybody
            raise ValidationFailed.of("artifactPath", f"{uri} can't be asked for: {error}") from None
        except ClientError as error:
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

    What it can't parse is an error of its parser, and a part of an answer that is missing is a KeyError here.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, KeyError, ValueError) as error:
        raise Unavailable(
            f"the artifact storage, S3 at {settings.endpoint}, doesn't answer as it should; inference goes on without "
            "it, so try again in a moment"
        ) from error


def s3_client(settings: StorageSettings, *, endpoint: str | None = None, patience: Patience | None = None) -> S3Client:
    """At the settings' endpoint, unless another is given; as patient as the library is, minutes, unless it is said."""
    import botocore.session
    from botocore.config import Config

    host = endpoint or settings.endpoint
    is_aws = host.endswith(AWS_DOMAINS)
    config = Config(
        signature_version="s3v4",
        # Other servers are asked by the name that they have, which needs no entry in DNS for each bucket.
        s3={"addressing_style": "virtual" if is_aws else "path"},
        # S3 has the checksums of more than it must only in newer versions, and other servers refuse them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={},  # of the environment: S3 is one of our own servers
    )
    if patience is not None:
        config = config.merge(_patient(patience))
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=f"{'https' if settings.use_tls else 'http'}://{_regional(host, settings.region)}",
        region_name=settings.region,
        aws_access_key_id=settings.access_key.get_secret_value(),
        aws_secret_access_key=settings.secret_key.get_secret_value(),
        verify=os.environ.get("SSL_CERT_FILE"),  # else what the library trusts
        config=config,
    )


def _patient(patience: Patience) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        retries={"mode": "standard", "total_max_attempts": 1 + patience.retries},
    )


def _regional(host: str, region: str) -> str:
    """S3's address without a region answers for each region, by a redirect that costs a request."""
    return f"s3.{region}.amazonaws.com" if host == "s3.amazonaws.com" else host


def encryption(settings: StorageSettings) -> Mapping[str, str]:
    """Return what S3 is asked to encrypt by, sent with each object; nothing leaves it to the bucket."""
    match settings.encryption:
        case Encryption.SSE_S3:
            return {"ServerSideEncryption": "AES256"}
        case Encryption.SSE_KMS:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.kms_key_id or ""}
        case Encryption.BUCKET:
            return {}


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into (bucket, key). Raises ValidationFailed naming `artifactPath`."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    # Whoever sends a path with dots in place of a name may shorten it, and then asks for another object.
    is_straight = not {".", ".."} & set(key.split("/"))
    if parts.scheme != "s3" or not parts.netloc or not key or not is_straight or parts.query or parts.fragment:
        raise ValidationFailed.of("artifactPath", f"{uri!r} is not of the form s3://bucket/key")
    return parts.netloc, key


def is_found(ask: Callable[[], object]) -> bool:
    """Whether S3 knows what it is asked about: False where it answers 404."""
    from botocore.exceptions import ClientError

    try:
        ask()
    except ClientError as error:
        if status_of(error) == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True


def status_of(error: "ClientError") -> int:
    """Return the HTTP status, which is there also where the answer's body can't be parsed."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
