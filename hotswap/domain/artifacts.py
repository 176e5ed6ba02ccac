"""Artifacts as S3 and the database have them: uploads by parts, and stored objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


class PartsRefused(Exception):
    """S3 doesn't make an object of these parts; to try it with the same parts again is of no use."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    uri: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part as S3 has noted it: its size in bytes, and the tag by which S3 knows the content."""

    size: int
    etag: str


UploadedParts = Mapping[int, UploadedPart]
"""What S3 has of an upload, by the parts' numbers, which begin at 1."""


@dataclass(frozen=True, slots=True)
class AbandonedUpload:
    """An upload that was begun in S3 and neither completed nor aborted."""

    artifact_path: str
    s3_upload_id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A content that somebody wants to send for a model; `sha256` is as its sender claims."""

    model: str
    sha256: str
    size_bytes: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload of one content for a model; `sha256` is as its sender claims. A completed one has its object in S3."""

    upload_id: str
    model: str
    sha256: str
    size_bytes: int
    artifact_path: str
    s3_upload_id: str | None
    begun_by: str
    begun_at: datetime
    completed_at: datetime | None


def sizes_of_parts(size_bytes: int, *, least: int, most_parts: int = 1000) -> list[int]:
    """Return the sizes of a file's parts: equal ones of at least `least`, and the rest.

    S3 needs 5 MiB for all but the last.
    """
    each = max(least, -(-size_bytes // most_parts))
    whole, rest = divmod(size_bytes, each)
    return [each] * whole + ([rest] if rest else [])
