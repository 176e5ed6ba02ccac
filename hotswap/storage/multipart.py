"""Multipart uploads in S3, by which people send artifacts straight there: HotSwap signs each part, and sees none.

What is there of an upload is asked of S3 each time, so neither side has to remember what a killed one had sent. The S3
client keeps these calls to itself (their names begin with an underscore); the version is locked and tests make them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus

from minio.datatypes import Part
from minio.error import InvalidResponseError, S3Error

from hotswap.settings import StorageSettings
from hotswap.storage.objects import IMPATIENT, Patience, answering, encryption, s3_client, status_of

URL_LIFETIME = timedelta(hours=1)
COMPLETING_TAKES = 12
"""Times as long as anything else: S3 may put gigabytes together before it says a word."""

PartsThere = Mapping[int, Part]
"""What S3 has of an upload, by number."""


class PartsRefused(Exception):
    """Trying to complete the same parts again is of no use."""


class MultipartUploads:
    """In the bucket of the settings. Blocking: call it from a thread. Every method may raise Unavailable."""

    def __init__(self, settings: StorageSettings, patience: Patience = IMPATIENT) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._sse = encryption(settings)
        self._client = s3_client(settings, patience=patience)
        self._completing = s3_client(settings, patience=replace(patience, read=patience.read * COMPLETING_TAKES))
        # The host is part of what is signed, so it is the one that they will ask who send.
        self._signer = s3_client(settings, endpoint=settings.public_endpoint)

    def begin(self, key: str) -> str:
        """The upload's id in S3; its parts are encrypted as it is begun."""
        headers = dict(self._sse.headers()) if self._sse is not None else {}
        with answering(self._settings):
            return str(self._client._create_multipart_upload(self._bucket, key, headers))

    def parts(self, key: str, upload_id: str) -> PartsThere | None:
        """What is there of it, by number (at most 1,000); None where S3 knows no such upload (any more)."""
        with answering(self._settings):
            try:
                found = self._client._list_parts(self._bucket, key, upload_id, max_parts=1000)
            except (S3Error, InvalidResponseError) as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return {part.part_number: part for part in found.parts}

    def url(self, key: str, upload_id: str, number: int) -> str:
        """Where this part is PUT within the hour, by anybody who knows the address."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return str(
            self._signer.get_presigned_url("PUT", self._bucket, key, expires=URL_LIFETIME, extra_query_params=query)
        )

    def complete(self, key: str, upload_id: str, parts: PartsThere) -> None:
        """Make one object of the parts. Raises PartsRefused where S3 has other parts, or none any more."""
        ordered = [parts[number] for number in sorted(parts)]
        with answering(self._settings):
            try:
                self._completing._complete_multipart_upload(self._bucket, key, upload_id, ordered)
            except (S3Error, InvalidResponseError) as error:
                if status_of(error) in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                    raise PartsRefused from error
                raise

    def abort(self, key: str, upload_id: str) -> None:
        """Throw away what is there of it; one that is gone already is no error."""
        with answering(self._settings):
            try:
                self._client._abort_multipart_upload(self._bucket, key, upload_id)
            except (S3Error, InvalidResponseError) as error:
                if status_of(error) != HTTPStatus.NOT_FOUND:
                    raise

    def abandoned(self, prefix: str, *, before: datetime) -> Iterator[tuple[str, str, datetime]]:
        """Key, id and beginning of those begun before then and neither completed nor aborted; at most 1,000."""
        with answering(self._settings):
            try:
                # Without a delimiter the client sends an empty one, by which rclone finds nothing; no key has a line's
                # end.
                found = self._client._list_multipart_uploads(self._bucket, prefix=prefix, delimiter="\n")
            except (S3Error, InvalidResponseError) as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:  # rclone's way to say that there is none
                    return
                raise
        for upload in found.uploads:
            if upload.initiated_time is not None and upload.initiated_time < before:
                yield upload.object_name, upload.upload_id, upload.initiated_time


def sizes_of_parts(size_bytes: int, *, least: int, most_parts: int = 1000) -> Iterable[int]:
    """How a file is cut: parts of one size, at least `least`, and the rest. S3 wants 5 MiB of all but the last."""
    each = max(least, -(-size_bytes // most_parts))
    whole, rest = divmod(size_bytes, each)
    return [each] * whole + ([rest] if rest else [])
