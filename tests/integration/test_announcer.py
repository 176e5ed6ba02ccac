"""Webhooks that are told of events, over real HTTP."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from hotswap.domain.errors import Unavailable
from hotswap.notifications.webhooks import WebhookAnnouncer
from tests.fixtures.gate import Gate, opened
from tests.fixtures.ports import free_port

EVENT = {"specversion": "1.0", "id": "alr-1/alert", "type": "hotswap.alert.raised", "data": {"message": "é"}}


@pytest.fixture
def gate() -> Iterator[Gate]:
    with opened() as server:
        yield server


async def announce(port: int, webhook: str = "ops") -> None:
    announcer = WebhookAnnouncer({"ops": SecretStr(f"http://127.0.0.1:{port}/hook?key=a-secret")})
    try:
        await announcer.announce(webhook, EVENT)
    finally:
        await announcer.aclose()


async def test_an_event_arrives_as_cloudevents_has_it(gate: Gate) -> None:
    gate.answer = (202, b"whatever it says")
    await announce(gate.server_port)
    assert gate.asked == [("/hook?key=a-secret", EVENT)]
    assert gate.content_types == ["application/cloudevents+json"]


@pytest.mark.parametrize("answer", [(500, b"{}"), (404, b""), (302, b"")])
async def test_what_is_not_taken_is_to_be_tried_again(gate: Gate, answer: tuple[int, bytes]) -> None:
    gate.answer, gate.location = answer, f"http://127.0.0.1:{gate.server_port}/elsewhere"
    with pytest.raises(Unavailable, match=f"webhook ops answers {answer[0]}") as refusal:
        await announce(gate.server_port)
    assert "a-secret" not in str(refusal.value)
    assert len(gate.asked) == 1, "no redirect is followed"


async def test_a_server_that_is_away_and_a_name_that_is_gone() -> None:
    with pytest.raises(Unavailable, match="webhook ops does not answer: ConnectError"):
        await announce(free_port())
    with pytest.raises(Unavailable, match="no webhook other is configured any more"):
        await announce(free_port(), "other")
