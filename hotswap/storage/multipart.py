"""Multipart uploads in S3, by which people send artifacts straight there: HotSwap signs each part, and sees none.

What is there of an upload is asked of S3 each time, so neither side has to remember what a killed one had sent.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from http import HTTPStatus

from hotswap.domain.artifacts import PartsRefused, UploadedPart, UploadedParts
from hotswap.settings import StorageSettings
from hotswap.storage.objects import IMPATIENT, Patience
from hotswap.storage.parts_client import S3Client, answering, encryption, s3_client, status_of

URL_LIFETIME = timedelta(hours=1)
COMPLETING_TAKES = 12
"""Times as long as anything else: S3 may put gigabytes together before it says a word."""


class MultipartUploads:
    """Multipart uploads in the bucket of the settings.

    They block: call them from a thread. Every method may raise Unavailable.
    """

    def __init__(self, settings: StorageSettings, patience: Patience = IMPATIENT) -> None:
        self._settings = settings
        self._patience = patience
        self._bucket = settings.bucket

    @cached_property
    def _client(self) -> S3Client:
        return s3_client(self._settings, patience=self._patience)

    @cached_property
    def _completing(self) -> S3Client:
        longer = replace(self._patience, read=self._patience.read * COMPLETING_TAKES)
        return s3_client(self._settings, patience=longer)

    @cached_property
    def _signer(self) -> S3Client:
        # The host is part of what is signed, so it is the one that they will ask who send.
        return s3_client(self._settings, endpoint=self._settings.public_endpoint)

    def uri(self, key: str) -> str:
        """Return the object that an upload to this key becomes."""
        return f"s3://{self._bucket}/{key}"

    def begin(self, key: str) -> str:
        """Begin an upload and return its id in S3; the encryption of its parts is set here."""
        with answering(self._settings):
            begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, **encryption(self._settings))
            return str(begun["UploadId"])

    def parts(self, key: str, upload_id: str) -> UploadedParts | None:
        """Return its uploaded parts by number (at most 1,000); None where S3 knows no such upload (any more)."""
        from botocore.exceptions import ClientError

        with answering(self._settings):
            try:
                found = self._client.list_parts(Bucket=self._bucket, Key=key, UploadId=upload_id, MaxParts=1000)
            except ClientError as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:
                    return None
                raise
            return {part["PartNumber"]: UploadedPart(part["Size"], part["ETag"]) for part in found.get("Parts", ())}

    def url(self, key: str, upload_id: str, number: int) -> str:
        """Return the address to which this part can be PUT within the hour, by anybody who knows it."""
        named = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
        lifetime = int(URL_LIFETIME.total_seconds())
        return str(self._signer.generate_presigned_url("upload_part", Params=named, ExpiresIn=lifetime))

    def complete(self, key: str, upload_id: str, parts: UploadedParts) -> None:
        """Make one object of the parts. Raises PartsRefused where S3 has other parts, or none any more."""
        from botocore.exceptions import ClientError

        ordered = [{"PartNumber": number, "ETag": parts[number].etag} for number in sorted(parts)]
        with answering(self._settings):
            try:
                self._completing.complete_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": ordered}
                )
            except ClientError as error:
                if status_of(error) in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                    raise PartsRefused from error
                raise

    def abort(self, key: str, upload_id: str) -> None:
        """Throw away its uploaded parts; an upload that is gone already is no error."""
        from botocore.exceptions import ClientError

        with answering(self._settings):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if status_of(error) != HTTPStatus.NOT_FOUND:
                    raise

    def abandoned(self, prefix: str, *, before: datetime) -> Iterator[tuple[str, str, datetime]]:
        """Return key, id and beginning of uploads begun before then and not ended in any way; at most 1,000."""
        from botocore.exceptions import ClientError

        with answering(self._settings):
            try:
                found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
            except ClientError as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:  # rclone's way to say that there is none
                    return
                raise
            for upload in found.get("Uploads", ()):
                if upload["Initiated"] < before:
                    yield upload["Key"], upload["UploadId"], upload["Initiated"]
