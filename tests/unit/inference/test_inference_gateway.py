"""How a worker asks for predictions: by its own token, under the caller's request id; and what is asked again."""

from pathlib import Path

import httpx
import pytest

from hotswap.domain.errors import AnswerLost, Unavailable
from hotswap.inference.gateway import MOST_PREDICTION_BYTES, GatewayAnswer, InferenceGateway


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-token\n")
    return file


def answering(token_file: Path, answer: httpx.Response | Exception) -> tuple[InferenceGateway, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return InferenceGateway("http://envoy.test", token_file, transport=httpx.MockTransport(respond)), asked


async def test_it_asks_as_the_caller_wished_and_as_itself(token_file: Path) -> None:
    gateway, asked = answering(token_file, httpx.Response(200, text="{}"))
    headers = {"x-hotswap-version": "2.0.0", "authorization": "Bearer stolen", "x-request-id": "other"}
    assert await gateway.ask("r-1", "fraud/batch", '{"instances": [[1]]}', headers) == GatewayAnswer(True, "{}")
    (request,) = asked
    assert str(request.url) == "http://envoy.test/api/v1/inference/fraud/batch"
    assert (request.headers["authorization"], request.headers["x-request-id"]) == ("Bearer a-token", "r-1")
    assert request.headers["x-hotswap-version"] == "2.0.0"
    token_file.write_text("another")
    await gateway.ask("r-2", "fraud", "{}", {})
    assert asked[1].headers["authorization"] == "Bearer another", "a renewed token counts without a restart"


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_what_is_the_requests_own_fault_or_the_models_is_an_answer(token_file: Path, status: int) -> None:
    gateway, _ = answering(token_file, httpx.Response(status, text='{"error": {}}'))
    assert await gateway.ask("r", "fraud", "{}", {}) == GatewayAnswer(False, '{"error": {}}')


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(status) for status in (401, 403, 408, 429, 503)]
    + [httpx.ConnectError("a"), httpx.ConnectTimeout("b"), httpx.PoolTimeout("c")],
    ids=repr,
)
async def test_what_no_replica_has_seen_is_asked_again(token_file: Path, answer: httpx.Response | Exception) -> None:
    gateway, _ = answering(token_file, answer)
    with pytest.raises(Unavailable) as refused:
        await gateway.ask("r", "fraud", "{}", {})
    assert not isinstance(refused.value, AnswerLost)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502),
        httpx.Response(504),
        httpx.Response(200, content=b" " * (MOST_PREDICTION_BYTES + 1)),
        httpx.ReadError("a"),
        httpx.ReadTimeout("b"),
        httpx.WriteError("c"),
        httpx.RemoteProtocolError("d"),
    ],
    ids=repr,
)
async def test_what_a_replica_may_have_answered_is_told_apart(
    token_file: Path, answer: httpx.Response | Exception
) -> None:
    gateway, _ = answering(token_file, answer)
    with pytest.raises(AnswerLost):
        await gateway.ask("r", "fraud", "{}", {})


async def test_without_a_token_it_waits_for_one(tmp_path: Path) -> None:
    gateway, asked = answering(tmp_path / "absent", httpx.Response(200))
    with pytest.raises(Unavailable, match="token"):
        await gateway.ask("r", "fraud", "{}", {})
    assert asked == []
