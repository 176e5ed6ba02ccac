"""Make a backup: all rows of one moment, then the objects of the bucket, then the keys.

The rows come first. Every artifact that a row refers to is in S3 before its row, and nothing removes it while the row
is there. So the archive has each of them, and perhaps a newer one that no row of the archive knows.
"""

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from hotswap.backup.archive import ArchiveWriter, BackupManifest, TableContent, artifact_member, table_member, writing
from hotswap.domain.errors import ValidationFailed
from hotswap.persistence.backups import Rows, Snapshot, snapshot
from hotswap.storage.objects import ObjectStorage, split_uri

SIGNING_KEYS = "keys/signing_key.json"
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def make_backup(
    path: Path, *, database_url: str, objects: ObjectStorage | None = None, signing_keys: Path | None = None
) -> BackupManifest:
    """Write the archive, and return its manifest. What is None is left out.

    Raises Unavailable, ValidationFailed for a database without the schema, and OSError for a file that can't be read or
    written.
    """
    now = datetime.now(UTC)
    with writing(path) as archive:
        with snapshot(database_url) as database:
            tables = tuple(_add_table(archive, database, rows) for rows in database.tables)
        keys = _add_artifacts(archive, objects) if objects is not None else None
        if signing_keys is not None:
            archive.add(SIGNING_KEYS, partial(Path.write_bytes, data=signing_keys.read_bytes()))
        manifest = BackupManifest(
            product=version("hotswap"),
            revision=database.revision,
            created_at=now,
            tables=tables,
            days=database.days,
            artifacts=keys,
            has_keys=signing_keys is not None,
            members=archive.members,
        )
        archive.finish(manifest)
    return manifest


def _add_table(archive: ArchiveWriter, database: Snapshot, rows: Rows) -> TableContent:
    table, columns = rows

    def write(path: Path) -> int:
        with path.open("wb") as file:
            return database.copy(table, columns, file)

    return TableContent(table, columns, archive.add(table_member(table), write))


def _add_artifacts(archive: ArchiveWriter, objects: ObjectStorage) -> tuple[str, ...]:
    keys = []
    for each in objects.objects("", before=END_OF_TIME):
        with suppress(ValidationFailed):  # no artifact has such a key
            keys.append(split_uri(each.uri)[1])
    for key in keys:
        archive.add(artifact_member(key), partial(objects.download, objects.uri(key)))
    return tuple(keys)
