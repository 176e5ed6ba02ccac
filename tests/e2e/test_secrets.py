"""Where a stack's secrets are, and where they are not: whatever the tests before have done to it is searched."""

import asyncio
import contextlib
import json
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from temporalio.client import Client

from hotswap.client import ApiError, HotSwap
from hotswap.schemas.requests import CreateToken, RegisterVersion
from tests.fixtures.stack import Stack, hotswap

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SHOWN = {"token", "s3_access_key", "s3_secret_key"}
"""What `hotswap env --shell` is for: the development token and S3's keys, and no other secret."""


def test_a_stacks_secrets_are_in_its_files_and_processes_and_nowhere_else(stack: Stack) -> None:
    """Whatever the tests before have done to it is searched as well."""
    made = stack.api.tokens.create(CreateToken(name="leaky", roles=["Viewer"])).token
    for token, is_good in ((made, True), (f"{made}x", False), (f"{stack.token}x", False)):
        with HotSwap(stack.url, token) as caller, contextlib.nullcontext() if is_good else pytest.raises(ApiError):
            caller.models.list()
    stack.api.tokens.revoke("leaky")
    with pytest.raises(ApiError, match="there is no object"):  # so that a workflow's history is there in any case
        stack.api.models.register(
            RegisterVersion(name="leaky", version="1.0.0", framework="ONNX", artifact_path="s3://ml-models/none.tar")
        )

    files = {file.name: file.read_text().strip() for file in (stack.data / "secrets").iterdir()}
    private = [key["d"] for key in json.loads(files.pop("signing_key.json"))["keys"]]
    del files["jwks.json"]
    secrets = {name: text.rpartition(".")[2] for name, text in files.items()}  # of a token its signature
    secrets |= {f"signing key {number}": key for number, key in enumerate(private)}
    secrets["service token"] = made.split("_")[2]
    assert all(len(secret) >= 20 for secret in secrets.values())

    def found_in(text: str) -> set[str]:
        return {name for name, secret in secrets.items() if secret in text}

    assert found_in(hotswap("env", "--shell", data=stack.data).stdout) == SHOWN
    assert found_in(hotswap("env", data=stack.data).stdout) == set()
    assert found_in(hotswap("env", "--json", data=stack.data).stdout) == set()
    rays = (stack.data / "logs" / "ray").resolve()
    for log in [file for place in (stack.data / "logs", rays) for file in place.rglob("*") if file.is_file()]:
        assert found_in(log.read_text(errors="replace")) == set(), log
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            assert found_in(words) == set(), words.replace("\0", " ")[:200]
    for file in (stack.data / "envoy").glob("*.json"):
        assert found_in(file.read_text()) == set(), file
    assert found_in(asyncio.run(everything_that_is_kept(stack.control))) == set()


async def everything_that_is_kept(settings: dict[str, str]) -> str:
    """All rows of the database, and all events of all workflows, whose payloads are plain."""
    kept = []
    temporal = await Client.connect(settings["TEMPORAL_ADDRESS"])
    async for each in temporal.list_workflows():
        history = await temporal.get_workflow_handle(each.id, run_id=each.run_id).fetch_history()
        kept += [event.SerializeToString().decode(errors="replace") for event in history.events]
    assert kept, "a version was registered"
    url = settings["HOTSWAP_POSTGRES__URL"].replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as database:
        for (table,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            rows = database.execute(sql.SQL("SELECT x::text FROM {} AS x").format(sql.Identifier(table)))
            kept += [row for (row,) in rows.fetchall()]
    return "\n".join(kept)
