"""Artifacts as S3 and the database have them: uploads by parts, and stored objects."""

from dataclasses import dataclass
from datetime import datetime


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
