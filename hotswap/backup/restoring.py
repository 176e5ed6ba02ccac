"""Restore a backup: everything is checked before anything is changed, and then the database changes all at once.

The artifacts go to S3 first. If the database then refuses the rows, there are only more objects than before, which no
row refers to.
"""

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hotswap.backup.archive import (
    CHUNK_BYTES,
    ArchiveReader,
    BackupManifest,
    artifact_member,
    reading,
    table_member,
)
from hotswap.backup.making import SIGNING_KEYS
from hotswap.domain.errors import ValidationFailed
from hotswap.persistence.backups import check_restorable, restore
from hotswap.storage.objects import ObjectStorage


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, the revision that the schema has now, and the signing keys if they were asked for."""

    manifest: BackupManifest
    revision: str
    signing_keys: str | None = None


def check_backup(path: Path, *, database_url: str, replace: bool, with_keys: bool = False) -> BackupManifest:
    """Check that all of an archive can be restored into this database, change nothing, and return its manifest.

    Raises ValidationFailed for an archive that is damaged, newer than this release or without the keys that are asked
    for, Conflict for a database that has data, Unavailable, and OSError.
    """
    with reading(path) as archive:
        _check(archive, path, database_url=database_url, replace=replace, with_keys=with_keys)
        return archive.manifest


def restore_backup(
    path: Path,
    *,
    database_url: str,
    objects: ObjectStorage | None = None,
    replace: bool = False,
    with_keys: bool = False,
) -> Restored:
    """Restore the rows, and the artifacts if there are any and `objects` is given.

    Raises like `check_backup`, and Conflict for a database that anything else is connected to.
    """
    with reading(path) as archive:
        manifest = archive.manifest
        _check(archive, path, database_url=database_url, replace=replace, with_keys=with_keys)
        if objects is not None and manifest.artifacts:
            _send_artifacts(archive, objects, manifest.artifacts, path.parent)

        def content(table: str) -> AbstractContextManager[IO[bytes]]:
            return archive.open(table_member(table))

        rows = [(each.name, each.columns) for each in manifest.tables]
        revision = restore(database_url, manifest.revision, rows, manifest.days, content, replace=replace)
        return Restored(manifest, revision, _keys(archive) if with_keys else None)


def _check(archive: ArchiveReader, path: Path, *, database_url: str, replace: bool, with_keys: bool) -> None:
    if with_keys and not archive.manifest.has_keys:
        raise ValidationFailed(
            f"{path} has no keys, so nothing was changed; restore it without --with-keys, and bring the key file "
            "yourself or let people log in again"
        )
    check_restorable(database_url, archive.manifest.revision, replace=replace)


def _send_artifacts(archive: ArchiveReader, objects: ObjectStorage, keys: tuple[str, ...], directory: Path) -> None:
    objects.ensure_bucket()
    for key in keys:
        with tempfile.NamedTemporaryFile(prefix=".artifact.", dir=directory) as draft:
            with archive.open(artifact_member(key)) as content:
                while chunk := content.read(CHUNK_BYTES):
                    draft.write(chunk)
            draft.flush()
            objects.upload(Path(draft.name), objects.uri(key))


def _keys(archive: ArchiveReader) -> str:
    with archive.open(SIGNING_KEYS) as file:
        return file.read().decode()
