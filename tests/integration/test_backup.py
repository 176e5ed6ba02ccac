"""A backup of a real PostgreSQL and a real S3, restored: equal rows and objects, or nothing changed at all."""

import json
import secrets
import stat
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from hotswap.backup import restoring
from hotswap.backup.archive import reading
from hotswap.backup.making import make_backup
from hotswap.backup.restoring import restore_backup
from hotswap.cli.app import app
from hotswap.domain.errors import Conflict, HotSwapError, Unavailable, ValidationFailed
from hotswap.domain.findings import FindingKind, Repair
from hotswap.domain.reconciliation import ActualState, compare
from hotswap.persistence.backups import PASSING, check_restorable
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reconciliation import PostgresReconciliationRecords
from hotswap.persistence.migrations import migrate, upgrade
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.database import create_engine as create_async_engine
from hotswap.persistence.recorder import make_partitions
from hotswap.persistence.tables import Base
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.settings import PostgresSettings
from hotswap.storage.objects import ObjectStorage
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.rows import change, deployment_of, registered
from tests.fixtures.s3 import S3Server

DAY = datetime(2026, 11, 30, tzinfo=UTC)
RECORD = """
    INSERT INTO inference_requests (requested_at, record_id, request_id, environment, model_name, version,
    deployment_id, application, arm, attempt, is_batch, instances, features, latency_ms, status, completed_at)
    VALUES (%s, %s, 'r', 'Production', 'fraud', '1.0.0', 'dep-a', 'a', 'stable', 1, false, 1, %s, 1.5, 'ok', %s)
"""
HOSTILE = 'tab\there, a line\nbreak, a back\\slash, "quotes" and \\N'

Databases = Callable[[], str]


@pytest.fixture
def databases(postgres_server: PostgresServer) -> Iterator[Databases]:
    """Makes empty databases that nothing else is connected to."""
    made: list[str] = []

    def make() -> str:
        name = f"backup_{secrets.token_hex(4)}"
        postgres_server.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return postgres_server.url(name)

    yield make
    for name in made:
        postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def filled(databases: Databases) -> str:
    """A database with two versions, one that serves, and a deployment under way at 10%."""
    url = databases()
    migrate(url)
    await fill(url)
    return url


async def fill(url: str) -> None:
    engine = create_async_engine(PostgresSettings(url=SecretStr(url)))
    sessions = Sessions(engine)
    await registered(sessions, "1.0.0", "2.0.0")
    deployment_id = await deployment_of(sessions, "2.0.0")
    await PostgresDeployments(sessions).open(deployment_id, run_id="run-1")
    await PostgresTrafficPlans(sessions).apply(change(1, 1_000), run_id="run-1")
    await engine.dispose()
    async with await psycopg.AsyncConnection.connect(plain(url), autocommit=True) as connection:
        await make_partitions(connection, [DAY.date()])
        for at in (DAY, datetime(2020, 1, 1, tzinfo=UTC)):
            await connection.execute(RECORD, (at, secrets.token_hex(4), HOSTILE, at))
        await connection.execute("INSERT INTO leases VALUES ('l', 't', 'h', now())")


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def content(url: str) -> dict[str, list[str]]:
    """Every row of every table that a backup has, as text."""
    found = {}
    with psycopg.connect(plain(url)) as connection:
        for table in sorted(Base.metadata.tables.keys() - PASSING):
            # A restored plan has another lineage, of which a test of its own speaks.
            of_it = "id, generation, installation" if table == "plan_generation" else "*"
            rows = connection.execute(f"SELECT t::text FROM (SELECT {of_it} FROM {table}) AS t ORDER BY 1").fetchall()
            found[table] = [str(row[0]) for row in rows]
    return found


def value(url: str, query: str) -> object:
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def bucket(s3: S3Server) -> ObjectStorage:
    return ObjectStorage(s3.settings())


def put(s3: S3Server, key: str, body: bytes) -> None:
    path = s3.directory / "ml-models" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


async def test_rows_and_artifacts_are_equal_after_a_restore(
    filled: str, databases: Databases, s3: S3Server, tmp_path: Path
) -> None:
    put(s3, "fraud/v1/model.tar.gz", b"\x00model" * 1000)
    put(s3, "empty", b"")
    before, path = content(filled), tmp_path / "backup.tar"
    manifest = make_backup(path, database_url=filled, objects=bucket(s3))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert manifest.artifacts is not None
    assert sorted(manifest.artifacts) == ["empty", "fraud/v1/model.tar.gz"]
    assert {each.name: each.rows for each in manifest.tables} == {name: len(rows) for name, rows in before.items()}
    assert {"model_versions": 2, "deployments": 1, "inference_requests": 2}.items() <= {
        each.name: each.rows for each in manifest.tables
    }.items()
    (s3.directory / "ml-models" / "fraud/v1/model.tar.gz").unlink()
    target = databases()
    restored = restore_backup(path, database_url=target, objects=bucket(s3))
    assert content(target) == before
    assert restored.revision == manifest.revision == migrate(target)[1]
    assert (s3.directory / "ml-models" / "fraud/v1/model.tar.gz").read_bytes() == b"\x00model" * 1000
    assert value(target, "SELECT count(*) FROM inference_requests_20261130") == 1
    assert value(target, "SELECT count(*) FROM inference_requests_default") == 1
    assert value(target, "SELECT count(*) FROM leases") == 0
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["backup.tar"], "no draft is left"


async def test_what_is_written_after_a_restore_gets_new_numbers(
    filled: str, databases: Databases, tmp_path: Path
) -> None:
    make_backup(tmp_path / "b.tar", database_url=filled)
    target = databases()
    restore_backup(tmp_path / "b.tar", database_url=target)
    newest = value(target, "SELECT max(id) FROM audit_events")
    engine = create_async_engine(PostgresSettings(url=SecretStr(target)))
    await registered(Sessions(engine), "3.0.0")
    await engine.dispose()
    assert isinstance(newest, int)
    assert value(target, "SELECT min(id) FROM audit_events WHERE id > " + str(newest)) == newest + 1
    with pytest.raises(psycopg.Error), psycopg.connect(plain(target)) as connection:
        connection.execute("DELETE FROM audit_events")  # its trigger is there again


async def test_a_database_with_data_is_refused_and_replaced_only_if_it_is_said(
    filled: str, databases: Databases, tmp_path: Path
) -> None:
    path = tmp_path / "b.tar"
    make_backup(path, database_url=filled)
    target = databases()
    migrate(target)
    with psycopg.connect(plain(target)) as connection:
        connection.execute("CREATE TABLE somebodys (x int)")
    await fill(target)
    before = content(target)
    with pytest.raises(Conflict, match=r"has data \(rows in \w+\), so nothing was changed.*--replace"):
        restore_backup(path, database_url=target)
    assert content(target) == before
    restore_backup(path, database_url=target, replace=True)
    assert content(target) == content(filled)
    assert value(target, "SELECT count(*) FROM somebodys") == 0, "it isn't HotSwap's table"


async def test_a_new_installation_is_empty(filled: str, databases: Databases, tmp_path: Path) -> None:
    make_backup(tmp_path / "b.tar", database_url=filled)
    target = databases()
    migrate(target)
    with psycopg.connect(plain(target)) as connection:
        connection.execute("INSERT INTO leases VALUES ('l', 't', 'h', now())")
    restore_backup(tmp_path / "b.tar", database_url=target)
    assert content(target) == content(filled)


@pytest.mark.parametrize("damage", ["a flipped byte", "a lost member", "a changed manifest", "a lost end", "no tar"])
async def test_a_damaged_archive_is_refused_and_nothing_is_changed(
    filled: str, databases: Databases, s3: S3Server, tmp_path: Path, damage: str
) -> None:
    put(s3, "model", b"artifact" * 100)
    whole, broken = tmp_path / "whole.tar", tmp_path / "broken.tar"
    make_backup(whole, database_url=filled, objects=bucket(s3))
    target = databases()
    migrate(target)
    before = content(target)
    data = whole.read_bytes()
    match damage:
        case "a flipped byte":
            broken.write_bytes(data.replace(b"artifactartifact", b"artifactArtifact", 1))
        case "a lost member":
            without(whole, broken, "tables/models.copy")
        case "a changed manifest":
            broken.write_bytes(data.replace(b'"product": "', b'"prodUct": "', 1))
        case "a lost end":
            broken.write_bytes(data[: len(data) // 2])
        case _:
            broken.write_bytes(b"nothing of the kind")
    (s3.directory / "ml-models" / "model").unlink()
    with pytest.raises(ValidationFailed, match="is damaged, so nothing was changed"):
        restore_backup(broken, database_url=target, objects=bucket(s3), replace=True)
    assert content(target) == before
    assert list((s3.directory / "ml-models").iterdir()) == []


def without(whole: Path, to: Path, name: str) -> None:
    with tarfile.open(whole) as old, tarfile.open(to, "w") as new:
        for member in old.getmembers():
            if member.name != name:
                new.addfile(member, old.extractfile(member))


async def test_a_load_that_fails_leaves_the_database_as_it_was(
    filled: str, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.tar"
    make_backup(path, database_url=filled)
    target = databases()
    migrate(target)
    await fill(target)
    before = content(target)
    monkeypatch.setattr(restoring, "table_member", lambda _: "tables/models.copy")  # every table gets these rows
    with pytest.raises(ValidationFailed, match="nothing was changed"):
        restore_backup(path, database_url=target, replace=True)
    assert content(target) == before


async def test_a_database_that_is_in_use_is_refused(filled: str, databases: Databases, tmp_path: Path) -> None:
    make_backup(tmp_path / "b.tar", database_url=filled)
    target = databases()
    with psycopg.connect(plain(target)), pytest.raises(Conflict, match=r"in use by postgres.*stop HotSwap"):
        restore_backup(tmp_path / "b.tar", database_url=target)


async def test_a_backup_of_an_older_schema_is_migrated(databases: Databases, tmp_path: Path) -> None:
    older, target = databases(), databases()
    engine = create_engine(older)
    with engine.begin() as connection:
        upgrade(connection, "0020")
        connection.execute(
            text(
                "INSERT INTO models (model_id, name, framework, type, owner, is_idempotent) "
                "VALUES ('model-1', 'fraud', 'ONNX', 'Other', 'ann', true)"
            )
        )
    engine.dispose()
    manifest = make_backup(tmp_path / "b.tar", database_url=older)
    assert manifest.revision == "0020"
    restored = restore_backup(tmp_path / "b.tar", database_url=target)
    assert restored.revision == migrate(target)[1] != "0020"
    assert value(target, "SELECT name FROM models") == "fraud"


async def test_a_newer_schema_is_refused(databases: Databases) -> None:
    url = databases()
    with pytest.raises(ValidationFailed, match=r"9999 is newer than this release knows.*nothing was changed"):
        check_restorable(url, "9999", replace=True)
    migrate(url)
    with psycopg.connect(plain(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ValidationFailed, match="9999 is newer"):
        check_restorable(url, "0020", replace=True)


async def test_a_database_without_the_schema_has_nothing_to_back_up(databases: Databases, tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match="has no schema of HotSwap"):
        make_backup(tmp_path / "b.tar", database_url=databases())
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_is_away_is_said(tmp_path: Path, databases: Databases) -> None:
    url = databases().replace("backup_", "gone_")
    for attempt in (
        lambda: make_backup(tmp_path / "b.tar", database_url=url),
        lambda: check_restorable(url, "0020", replace=False),
    ):
        with pytest.raises(Unavailable, match="PostgreSQL can't be used"):
            attempt()


async def test_keys_are_only_in_an_archive_that_was_asked_for_them(
    filled: str, databases: Databases, tmp_path: Path
) -> None:
    keys, path = tmp_path / "signing_key.json", tmp_path / "b.tar"
    keys.write_text('{"keys": []}')
    make_backup(path, database_url=filled)
    with reading(path) as archive:
        assert not any(name.startswith("keys/") for name in archive.manifest.members)
    target = databases()
    with pytest.raises(ValidationFailed, match="has no keys, so nothing was changed"):
        restore_backup(path, database_url=target, with_keys=True)
    make_backup(path, database_url=filled, signing_keys=keys)
    assert restore_backup(path, database_url=target, with_keys=True).signing_keys == '{"keys": []}'


def test_a_restored_plan_is_the_same_installations_in_a_later_lineage(
    filled: str, databases: Databases, tmp_path: Path
) -> None:
    """So that no proxy takes it for a plan that it had before."""

    def plan_of(url: str) -> tuple[Any, ...]:
        with psycopg.connect(plain(url)) as connection:
            found = connection.execute("SELECT installation, generation, lineage FROM plan_generation").fetchone()
        assert found is not None
        return found

    make_backup(tmp_path / "b.tar", database_url=filled)
    target = databases()
    restore_backup(tmp_path / "b.tar", database_url=target)
    assert plan_of(target)[:2] == plan_of(filled)[:2]
    assert plan_of(target)[2] > plan_of(filled)[2]


async def test_what_was_under_way_is_named_after_a_restore(filled: str, databases: Databases, tmp_path: Path) -> None:
    make_backup(tmp_path / "b.tar", database_url=filled)
    target = databases()
    restore_backup(tmp_path / "b.tar", database_url=target)
    with psycopg.connect(plain(target)) as connection:
        connection.execute("UPDATE deployments SET started_at = started_at - interval '5 minutes'")
    engine = create_async_engine(PostgresSettings(url=SecretStr(target)))
    recorded = await PostgresReconciliationRecords(Sessions(engine)).recorded()
    await engine.dispose()
    found = compare(recorded, ActualState(open_workflows={}, applications={}, proxies=()))
    lost = value(target, "SELECT deployment_id FROM deployments")
    assert (FindingKind.DEPLOYMENT_WITHOUT_WORKFLOW, lost, Repair.END_DEPLOYMENT) in [
        (each.kind, each.subject, each.repair) for each in found
    ]


async def test_an_archive_never_replaces_a_file_before_it_is_whole(filled: str, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(b"the backup of yesterday")
    with pytest.raises(HotSwapError):
        make_backup(path, database_url=filled.replace("backup_", "gone_"))
    assert path.read_bytes() == b"the backup of yesterday"
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]


async def test_the_commands_work_on_a_database_of_ones_own(
    filled: str, databases: Databases, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "model", b"artifact")
    settings = s3.settings()
    monkeypatch.setenv("HOTSWAP_STORAGE__ENDPOINT", settings.endpoint)
    monkeypatch.setenv("HOTSWAP_STORAGE__ACCESS_KEY", settings.access_key.get_secret_value())
    monkeypatch.setenv("HOTSWAP_STORAGE__SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("HOTSWAP_POSTGRES__URL", filled)
    made = run("backup", str(tmp_path))
    assert "no artifacts" in made.stdout
    assert "not in it: the signing keys, the artifacts, passwords" in made.stderr
    (archive,) = tmp_path.glob("hotswap-*.tar")
    assert "exists already" in run("backup", str(archive), code=1).stderr
    whole = tmp_path / "whole.tar"
    told = json.loads(run("backup", str(whole), "--with-artifacts", "--json").stdout)
    assert (told["file"], told["artifacts"], told["rows"]["deployments"]) == (str(whole), 1, 1)
    assert "embedded stack" in run("backup", str(tmp_path / "k.tar"), "--with-keys", code=1).stderr
    assert "has data" in run("restore", str(whole), code=1).stderr
    target = databases()
    monkeypatch.setenv("HOTSWAP_POSTGRES__URL", target)
    (s3.directory / "ml-models" / "model").unlink()
    restored = run("restore", str(whole))
    assert "1 artifacts" in restored.stdout
    assert "`hotswap reconcile` says what differs" in restored.stderr
    assert content(target) == content(filled)
    assert (s3.directory / "ml-models" / "model").read_bytes() == b"artifact"


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result
