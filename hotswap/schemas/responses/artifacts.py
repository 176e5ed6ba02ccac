"""Uploads of artifacts to S3, and artifacts to remove from it."""

from datetime import datetime

from hotswap.schemas.responses.base import View


class PartView(View):
    """A part of the file; `number` counts from 1. PUT it to `url`, which is null once the part is there."""

    number: int
    size_bytes: int
    url: str | None


class UploadView(View):
    """An upload; once it is `completed`, `artifactPath` can be registered, with the `checksum` that was claimed."""

    upload_id: str
    model: str
    artifact_path: str
    checksum: str
    size_bytes: int
    completed: bool
    parts: list[PartView]


class GarbageItemView(View):
    """An object that no version refers to, or, with `isUpload`, an upload that was begun and abandoned."""

    artifact_path: str
    size_bytes: int
    modified_at: datetime
    is_upload: bool = False


class GarbageView(View):
    """The artifacts that were removed, or that `apply` would remove.

    `more` says that there is more than one call removes.
    """

    applied: bool
    prefix: str
    items: list[GarbageItemView]
    total_bytes: int
    more: bool
