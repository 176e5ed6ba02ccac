"""The client of S3 for uploads by parts: botocore, whose public interface has each call of them.

Objects are asked for by another library, in `objects.py`; this module and `multipart.py` are the only ones that import
botocore, and only when an upload is asked about: replicas never do.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from hotswap.settings import Encryption, StorageSettings
from hotswap.storage.objects import Patience, unanswered

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

S3Client = Any
"""botocore makes a client's class from the description of S3's API when the client is created."""

_MAKING = Lock()
"""A session makes one client at a time; the clients may be used by several threads."""

AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")


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
        raise unanswered(settings) from error


def s3_client(settings: StorageSettings, *, endpoint: str | None = None, patience: Patience | None = None) -> S3Client:
    """Return a client of the settings' endpoint or of another; without `patience` it has the library's, minutes."""
    import certifi
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
    with _MAKING:
        return _session().create_client(
            "s3",
            endpoint_url=f"{'https' if settings.use_tls else 'http'}://{_regional(host, settings.region)}",
            region_name=settings.region,
            aws_access_key_id=settings.access_key.get_secret_value(),
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            verify=os.environ.get("SSL_CERT_FILE") or certifi.where(),  # as objects are asked, by nothing else
            config=config,
        )


@cache
def _session() -> Any:
    """Make the one session of the process: each reads the description of S3's API anew, for a quarter of a second."""
    import botocore.session

    return botocore.session.Session()


def _patient(patience: Patience) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        retries={"mode": "standard", "total_max_attempts": 1 + patience.retries},
    )


def _regional(host: str, region: str) -> str:
    """Return S3's regional address: the one without a region redirects, which costs a request."""
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


def status_of(error: "ClientError") -> int:
    """Return the HTTP status, which is there also where the answer's body can't be parsed."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
