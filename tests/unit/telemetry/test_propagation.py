"""What travels beside the inputs of Temporal, and what of it is believed at the other end."""

import contextvars

import pytest
from temporalio.api.common.v1 import Payload

from hotswap.telemetry import logs
from hotswap.telemetry.propagation import _sent, _take


def arrived(headers: dict[str, Payload]) -> tuple[str | None, str | None]:
    def take() -> tuple[str | None, str | None]:
        _take(headers)
        return logs.trace_id.get(), logs.reason.get()

    return contextvars.copy_context().run(take)


@pytest.mark.parametrize(("trace", "reason"), [("4bf92f35", "CHG-1: späte Etiketten"), ("mine", None), (None, None)])
def test_what_a_request_says_arrives_beside_what_is_there(trace: str | None, reason: str | None) -> None:
    def send() -> dict[str, Payload]:
        logs.trace_id.set(trace)
        logs.reason.set(reason)
        return dict(_sent({"of-another": Payload(data=b"kept")}))

    sent = contextvars.copy_context().run(send)
    assert sent["of-another"].data == b"kept"
    assert arrived(sent) == (trace, reason)


@pytest.mark.parametrize("said", [b"", b"two words", b"a\x00b", b"x" * 129, b"\xff\xfe", "späte".encode()])
def test_an_indecent_trace_id_is_none(said: bytes) -> None:
    assert arrived({"hotswap-trace-id": Payload(data=said)}) == (None, None)


@pytest.mark.parametrize("said", [b"", b"a\x00b", b"two\nlines", b"x" * 2_001])
def test_an_indecent_reason_is_none(said: bytes) -> None:
    assert arrived({"hotswap-reason": Payload(data=said)}) == (None, None)
