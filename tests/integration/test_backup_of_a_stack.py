"""The commands on an embedded stack, whose PostgreSQL and S3 are real: what stops, in which order, and what starts."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from hotswap.bootstrap import credentials, database
from hotswap.bootstrap.layout import ADMIN_URL, Layout
from hotswap.cli import backup
from hotswap.cli.app import app
from hotswap.schemas.responses import FindingView, ReconciliationView
from hotswap.security import signing
from hotswap.stack import part_holds
from hotswap.stack.environment import Environments
from hotswap.stack.lifecycle import State
from hotswap.stack.ports import StackPorts
from hotswap.storage.files import write_json
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.s3 import S3Server

MODEL = "INSERT INTO models (model_id, name, framework, type, owner) VALUES (%s, %s, 'ONNX', 'Other', 'ann')"
FOUND = FindingView.model_validate(
    {
        "kind": "DeploymentWithoutWorkflow",
        "subject": "dep-1",
        "expected": "a workflow",
        "actual": "none",
        "repair": "EndDeployment",
        "next_step": "it is ended",
    }
)


class StackOnPaper:
    """A data directory that says that a stack runs there; `done` has what would have been done with its parts."""

    def __init__(self, layout: Layout, postgres: PostgresServer, s3: S3Server) -> None:
        self.layout = layout
        self.done: list[tuple[str, Any]] = []
        for directory in (layout.data, layout.run, layout.secrets):
            directory.mkdir()
        settings = s3.settings()
        (layout.secrets / "s3_access_key").write_text(settings.access_key.get_secret_value())
        (layout.secrets / "s3_secret_key").write_text(settings.secret_key.get_secret_value())
        ports = replace(StackPorts(), postgres=postgres.port, s3=int(settings.endpoint.rpartition(":")[2]))
        parts = dict.fromkeys(("api", "worker", "recorder", "ray"), "ready")
        state = State(supervisor=1, guardian=1, guardian_started=1, ports=ports, addresses={}, ready=True, parts=parts)
        write_json(layout.state, state.encode())
        self.environments = Environments(layout, ports, credentials.load(layout), {})
        self.url = self.environments.postgres_url()

    def rows(self) -> int:
        with psycopg.connect(self.url.replace("+psycopg", "")) as connection:
            found = connection.execute("SELECT count(*) FROM models").fetchone()
        assert found is not None
        return int(found[0])


@pytest.fixture
def stack(
    postgres_server: PostgresServer, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StackOnPaper]:
    made = StackOnPaper(Layout(tmp_path / "data"), postgres_server, s3)
    monkeypatch.setenv(ADMIN_URL, postgres_server.url("postgres", driver="postgresql"))
    monkeypatch.setenv("HOTSWAP_POSTGRES__URL", made.url)
    database.run()  # the role and the database, as the stack makes them
    monkeypatch.delenv("HOTSWAP_POSTGRES__URL")
    with psycopg.connect(made.url.replace("+psycopg", "")) as connection:
        connection.execute(MODEL, ("model-1", "fraud"))

    def hold(_: Layout, names: list[str], how: str) -> None:
        made.done.append((str(how), names))

    def release(_: Layout, names: list[str]) -> None:
        made.done.append(("start", names))

    def find() -> ReconciliationView:
        made.done.append(("find", made.rows()))
        return ReconciliationView(findings=[FOUND], started=[], confirmed=True)

    api = SimpleNamespace(reconciliation=SimpleNamespace(find=find))
    monkeypatch.setattr(part_holds, "hold", hold)
    monkeypatch.setattr(part_holds, "release", release)
    monkeypatch.setattr(backup, "connect_to_stack", lambda _: nullcontext(api))
    with os.fdopen(os.open(made.layout.lock, os.O_CREAT | os.O_RDWR), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield made
    postgres_server.execute("DROP DATABASE ml_deployment WITH (FORCE)")
    postgres_server.execute("DROP ROLE ml_user")


def run(stack: StackOnPaper, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*words, "--data-dir", str(stack.layout.data)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


async def test_the_api_says_what_differs_before_the_worker_repairs_it(
    stack: StackOnPaper, s3: S3Server, tmp_path: Path
) -> None:
    (s3.directory / "ml-models" / "model").write_bytes(b"artifact")
    archive = tmp_path / "b.tar"
    made = json.loads(run(stack, "backup", str(archive), "--json").stdout)
    assert (made["artifacts"], made["rows"]["models"], made["hasKeys"]) == (1, 1, False)
    assert stack.done == [], "a backup stops nothing"
    with psycopg.connect(stack.url.replace("+psycopg", "")) as connection:
        connection.execute(MODEL, ("model-2", "churn"))
    restored = run(stack, "restore", str(archive), "--replace")
    assert stack.done == [
        ("stop", ["api", "worker", "recorder"]),
        ("start", ["api"]),
        ("find", 1),
        ("start", ["api", "worker", "recorder"]),
    ]
    assert "dep-1" in restored.stdout
    assert "it is ended" in restored.stdout


async def test_what_is_refused_beforehand_stops_nothing(stack: StackOnPaper, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    run(stack, "backup", str(archive))
    assert "--replace" in run(stack, "restore", str(archive), code=1).stderr
    archive.write_bytes(archive.read_bytes()[:2000])
    assert "is damaged" in run(stack, "restore", str(archive), "--replace", code=1).stderr
    assert stack.done == []


async def test_a_restore_that_fails_starts_again_what_it_stopped(stack: StackOnPaper, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    run(stack, "backup", str(archive))
    with psycopg.connect(stack.url.replace("+psycopg", "")):
        refused = run(stack, "restore", str(archive), "--replace", code=1)
    assert "in use by ml_user" in refused.stderr
    assert stack.done == [("stop", ["api", "worker", "recorder"]), ("start", ["api", "worker", "recorder"])]


async def test_keys_come_back_and_sign(stack: StackOnPaper, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    run(stack, "backup", str(archive), "--with-keys")
    secret = stack.environments.credentials
    (kept,) = credentials.signing_keys(secret)
    secret.signing_key_file.write_text(signing.write_keys([signing.generate_signing_key()]))
    run(stack, "restore", str(archive), "--replace")
    assert [each["kid"] for each in credentials.signing_keys(secret)] != [kept["kid"]]
    run(stack, "restore", str(archive), "--replace", "--with-keys")
    assert [each["kid"] for each in credentials.signing_keys(secret)] == [kept["kid"]]
    assert kept["kid"] in secret.jwks_file.read_text()
    assert secret.signing_key_file.stat().st_mode & 0o777 == 0o600
