"""A worker ends whatever the SDK's core does."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client

from tests.fixtures.patience import patient
from workflows.polling import Worker


@activity.defn
async def nothing() -> None: ...


async def for_ever() -> Any:
    await asyncio.Event().wait()


async def test_a_core_that_never_finishes_is_left_behind(
    temporal_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "patience", timedelta(seconds=0.5))
    worker = Worker(temporal_client, task_queue=f"stuck-{uuid.uuid4().hex}", activities=[nothing])
    async with asyncio.timeout(patient(15)):
        async with worker:
            monkeypatch.setattr(worker._bridge_worker, "finalize_shutdown", for_ever)  # else: the SDK waits for it
