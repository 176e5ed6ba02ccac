"""The archive of a backup: what was written is read, and what is not whole is refused with the file's name."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hotswap.backup.archive import ArchiveWriter, BackupManifest, TableContent, reading, table_member, writing
from hotswap.domain.errors import ValidationFailed

NOW = datetime(2026, 11, 30, tzinfo=UTC)
WHOLE = "all of it is as it was written"


def write(path: Path, **changes: Any) -> None:
    with writing(path) as archive:
        rows = archive.add(table_member("models"), lambda file: file.write_bytes(b"1\tfraud\n"))
        assert rows == 8, "what the filling function returned"
        archive.finish(manifest(archive, **changes))


def manifest(archive: ArchiveWriter, **changes: Any) -> BackupManifest:
    told: dict[str, Any] = {
        "product": "0.1.0",
        "revision": "0026",
        "created_at": NOW,
        "tables": (TableContent("models", ("id", "name"), 1),),
        "days": ("20261130",),
        "artifacts": None,
        "has_keys": False,
        "members": archive.members,
    }
    return BackupManifest(**told | changes)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    write(path)
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with reading(path) as archive:
        assert archive.manifest.tables == (TableContent("models", ("id", "name"), 1),)
        assert (archive.manifest.created_at, archive.manifest.artifacts) == (NOW, None)
        with archive.open(table_member("models")) as rows:
            assert rows.read() == b"1\tfraud\n"


def test_another_format_names_the_way_out(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", format=2)
    with pytest.raises(ValidationFailed, match="format 2 and this release reads format 1; restore it with the release"):
        reading(tmp_path / "b.tar").__enter__()


def test_a_member_without_a_hash_is_no_member(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", artifacts=("model",))
    with pytest.raises(ValidationFailed, match=r"b\.tar is damaged.*artifacts/model without a hash"):
        reading(tmp_path / "b.tar").__enter__()


@pytest.mark.parametrize("place", range(0, 4096, 97))
def test_no_flipped_bit_changes_what_is_read(tmp_path: Path, place: int) -> None:
    """Either it is refused, or it is in what nobody reads: padding, or a member's owner."""
    path = tmp_path / "b.tar"
    write(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x08
    path.write_bytes(data)
    told = refusal(path)
    assert told == WHOLE or "is damaged, so nothing was changed" in told


def refusal(path: Path) -> str:
    """What an archive is refused with; one that isn't must be as it was written."""
    try:
        with reading(path) as archive, archive.open(table_member("models")) as rows:
            is_whole = rows.read() == b"1\tfraud\n" and archive.manifest.revision == "0026"
    except ValidationFailed as error:
        return error.message
    return WHOLE if is_whole else "something else was read"


def test_an_archive_that_fails_half_way_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(b"yesterday's")

    def fail(_: Path) -> None:
        raise ConnectionError("S3 went away")

    with pytest.raises(ConnectionError), writing(path) as archive:
        archive.add("artifacts/model", fail)
    assert path.read_bytes() == b"yesterday's"
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]
