"""A call that is given up is cancelled, and what it fails with is nobody's."""

import asyncio
import contextlib
import re
from typing import Any

import pytest

from tests.fixtures.sources import sources
from workflows.abandoning import abandoned_at_end


async def answering() -> str:
    return "answer"


async def failing_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise RuntimeError("of no interest to anybody") from None


async def test_what_is_done_by_then_is_there() -> None:
    call = asyncio.ensure_future(answering())
    with abandoned_at_end(call):
        assert await call == "answer"
    assert not call.cancelled()


@pytest.mark.parametrize("raises", [None, ValueError("an abort")])
async def test_what_is_not_done_is_cancelled_and_its_failure_is_not_complained_of(raises: Exception | None) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    call = asyncio.ensure_future(failing_when_cancelled())
    await asyncio.sleep(0)
    with contextlib.suppress(ValueError), abandoned_at_end(call):
        if raises is not None:
            raise raises
    await asyncio.wait([call])
    await asyncio.sleep(0)
    del call
    assert complaints == []


def test_no_workflow_gives_a_call_up_in_a_way_of_its_own() -> None:
    alone = {
        path.name for path in sources("workflows") if re.search(r"lambda done: done\.cancelled\(\)", path.read_text())
    }
    assert alone == {"abandoning.py"}
