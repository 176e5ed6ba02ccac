"""The public address against what clients may send there, by the real Envoy: TLS, floods, slowness, lies in headers."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from hotswap.client import ApiError, HotSwap
from hotswap.domain.headers import CLIENT_ADDRESS_HEADER
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import Role
from hotswap.traffic.bus import KEYS, RedisTrafficBus
from serving.envoy import gateway as rendering
from serving.envoy.limits import MOST_HEADERS
from tests.fixtures.certificates import Authority
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.patience import patient, scaled
from tests.fixtures.ports import free_port
from tests.fixtures.traffic import CANDIDATE, STABLE, plan

SLOW = {"headers_timeout": scaled("PT1S"), "request_timeout": scaled("PT3S")}
A_SECOND = 20
CONNECTIONS = 300


class Edge(NamedTuple):
    gateway: Gateway
    authority: Authority
    certificate: Path
    key: Path
    tls_port: int
    https: httpx.AsyncClient


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> AsyncIterator[Edge]:
    """An Envoy with certificates, short time-outs and a limit for callers, whose model answers with both arms."""
    directory = tmp_path_factory.mktemp("edge")
    authority, certificate, key = Authority(directory), directory / "tls.crt", directory / "tls.key"
    authority.issue(certificate, key)
    api, tls_port = await Upstream.start("api"), free_port()
    tls = {"tls_certificate_file": str(certificate), "tls_key_file": str(key), "tls_port": tls_port}
    gateway = Gateway(directory, api.target, valkey_url, gateway=tls | SLOW, limits={"inference": A_SECOND})
    with pytest.MonkeyPatch.context() as small:
        small.setattr(rendering, "MOST_CONNECTIONS", CONNECTIONS)
        await gateway.start_envoy()
    for arm in (STABLE, CANDIDATE):
        upstream = await gateway.upstream(arm.application)
        gateway.serve.targets |= {arm.application: (upstream.target,)}
    trusted = ssl.create_default_context(cafile=str(authority.file))
    async with (
        Redis.from_url(valkey_url) as redis,
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{tls_port}", verify=trusted, timeout=patient(30)) as https,
        gateway.agent(),
    ):
        await redis.delete(*KEYS)
        await gateway.publish(RedisTrafficBus(redis), plan(1, TOTAL_WEIGHT // 2))
        yield Edge(gateway, authority, certificate, key, tls_port, https)
    await gateway.close()
    await api.kill()


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_https_is_answered_beside_plain_http(edge: Edge) -> None:
    headers = edge.gateway.token(Role.APPLICATION)
    over_tls = await edge.https.post("/api/v1/inference/fraud", json={"features": []}, headers=headers)
    assert over_tls.status_code == (await edge.gateway.infer("fraud")).status_code == 200
    assert (await edge.https.get("/api/v1/models")).json()["from"] == "api"
    assert (await edge.https.post("/api/v1/inference/fraud", json={})).json()["error"]["code"] == "UNAUTHORIZED"


async def test_the_client_trusts_an_authority_by_its_file(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> dict[str, object]:
        with HotSwap(f"https://127.0.0.1:{edge.tls_port}") as client:
            return client.health.ready()

    with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(asked)
    monkeypatch.setenv("SSL_CERT_FILE", str(edge.authority.file))
    assert (await asyncio.to_thread(asked))["from"] == "api"


async def shown(edge: Edge, version: ssl.TLSVersion | None = None) -> int:
    """The serial number of the certificate that a new connection is shown."""
    trusted = ssl.create_default_context(cafile=str(edge.authority.file))
    if version is not None:
        trusted.minimum_version = trusted.maximum_version = version
        trusted.set_ciphers("ALL:@SECLEVEL=0")
    _, writer = await asyncio.open_connection("127.0.0.1", edge.tls_port, ssl=trusted)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return int(certificate["serialNumber"], 16)


async def test_a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on(edge: Edge) -> None:
    assert (await edge.https.get("/api/v1/models")).status_code == 200
    for _ in range(2):
        before = await shown(edge)
        renewed = edge.authority.issue(edge.certificate, edge.key)
        assert renewed != before
        async with asyncio.timeout(patient(20)):
            while (serial := await shown(edge)) != renewed:
                assert serial == before
                await asyncio.sleep(0.02)
    assert (await edge.https.get("/api/v1/models")).status_code == 200


async def test_a_pair_that_does_not_fit_is_not_taken(edge: Edge, tmp_path: Path) -> None:
    before = await shown(edge)
    edge.authority.issue(edge.certificate, tmp_path / "of-another.key")
    await asyncio.sleep(0.3)
    assert await shown(edge) == before
    renewed = edge.authority.issue(edge.certificate, edge.key)
    async with asyncio.timeout(patient(20)):
        while await shown(edge) != renewed:
            await asyncio.sleep(0.02)


async def test_old_tls_is_refused(edge: Edge) -> None:
    assert await shown(edge, ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, ConnectionError)), pytest.warns(DeprecationWarning, match="TLSv1_1"):
        await shown(edge, ssl.TLSVersion.TLSv1_1)


# --- too much, and too slow -------------------------------------------------------------------------------------------


async def sent(edge: Edge, *parts: bytes, drip: bytes = b"") -> tuple[int, str]:
    """What a connection is answered that sends these bytes as they are: status and error code ("" where none).

    After them it sends `drip` again and again until it is answered.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.gateway.port)
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    with contextlib.suppress(ConnectionError):  # it was answered before it had said everything
        for part in parts:
            writer.write(part)
            await writer.drain()
        while drip and not answer.done():
            writer.write(drip)
            await writer.drain()
            await asyncio.wait([answer], timeout=0.05)
    async with asyncio.timeout(patient(30)):
        head = (await answer).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
    body = await reader.readexactly(length)
    writer.close()
    told = json.loads(body).get("error", {}) if body else {}
    return int(head.split(" ")[1]), told.get("code", "")


def asking(edge: Edge, *more: str, path: str = "/api/v1/inference/fraud", subject: str = "mallory") -> bytes:
    """A request's head, open at its end."""
    token = edge.gateway.token(Role.APPLICATION, subject=subject)["authorization"]
    return "\r\n".join((f"POST {path} HTTP/1.1", "host: hotswap", f"authorization: {token}", *more, "")).encode()


async def others_are_answered(edge: Edge) -> bool:
    headers = edge.gateway.token(Role.APPLICATION, subject="bystander")
    return (await edge.gateway.infer("fraud", headers)).status_code == 200


async def test_headers_that_never_end_are_given_up(edge: Edge) -> None:
    assert await sent(edge, asking(edge), drip=b"x-a: b\r\n") == (408, "REQUEST_TIMEOUT")
    assert await others_are_answered(edge)


@pytest.mark.parametrize("path", ["/api/v1/inference/fraud", "/api/v1/models"])
async def test_a_body_that_drips_is_given_up_and_nothing_of_it_is_passed_on(edge: Edge, path: str) -> None:
    head = asking(edge, "content-length: 1000000", "", path=path)
    assert await sent(edge, head, drip=b"{") == (408, "REQUEST_TIMEOUT")
    assert await others_are_answered(edge)


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(edge: Edge) -> None:
    chunk = b"x" * 1024**2
    said = asking(edge, f"content-length: {11 * len(chunk)}", "")
    assert await sent(edge, said, *[chunk] * 11) == (413, "VALIDATION_ERROR")
    unsaid = asking(edge, "transfer-encoding: chunked", "")
    chunks = [b"100000\r\n", chunk, b"\r\n"] * 11
    assert await sent(edge, unsaid, *chunks) == (413, "VALIDATION_ERROR")
    assert await others_are_answered(edge)


@pytest.mark.parametrize(
    "flood",
    [
        [f"x-{number}: 1" for number in range(MOST_HEADERS + 1)],
        ["x-long: " + "a" * 40_000],
        [f"x-{number}: " + "a" * 1_000 for number in range(40)],
        ["x" * 40_000 + ": 1"],
    ],
    ids=["many", "one long", "long together", "a long name"],
)
async def test_a_flood_of_headers_is_refused(edge: Edge, flood: list[str]) -> None:
    assert await sent(edge, asking(edge, *flood, "content-length: 2", ""), b"{}") == (431, "VALIDATION_ERROR")
    assert await others_are_answered(edge)


async def test_headers_that_are_let_in_are_let_in_at_either_arm(edge: Edge) -> None:
    """A candidate is asked through a second listener, after headers of Envoy's own were added."""
    many = {f"x-{number}": "1" for number in range(MOST_HEADERS - 15)} | {"x-long": "a" * 20_000}
    callers = [edge.gateway.token(Role.APPLICATION, subject=f"caller-{number}") for number in range(30)]
    answers = [await edge.gateway.infer("fraud", headers | many) for headers in callers]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-hotswap-arm"] for answer in answers}) == 2


async def test_connections_beyond_the_limit_are_closed_and_those_that_are_open_go_on(edge: Edge) -> None:
    assert await others_are_answered(edge)  # over a connection that stays
    beyond = 50
    crowd = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", edge.gateway.port) for _ in range(CONNECTIONS + beyond))
    )
    async with asyncio.timeout(patient(20)):
        while sum(reader.at_eof() for reader, _ in crowd) < beyond:
            await asyncio.sleep(0.02)
    assert not all(reader.at_eof() for reader, _ in crowd), "who was there before stays"
    assert await others_are_answered(edge)
    for _, writer in crowd:
        writer.close()
    async with asyncio.timeout(patient(20)):
        while True:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                if await sent(edge, asking(edge, "content-length: 2", ""), b"{}") == (200, ""):
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 2", "transfer-encoding: chunked"],
        ["content-length: 2", "content-length: 3"],
        ["content-length: -1"],
        ["x_underscored: 1", "content-length: 2"],
        ["x-split: a\x00b", "content-length: 2"],
        ["transfer-encoding: chunked, gzip"],
    ],
)
async def test_what_two_parsers_might_read_differently_is_refused(edge: Edge, lines: list[str]) -> None:
    status, code = await sent(edge, asking(edge, *lines, ""), b"{}")
    assert status in {400, 501}
    assert code == "VALIDATION_ERROR"
    assert await others_are_answered(edge)


# --- limits and lies --------------------------------------------------------------------------------------------------


async def test_a_caller_infers_so_often_a_second_and_another_is_not_touched(edge: Edge) -> None:
    busy = edge.gateway.token(Role.APPLICATION, subject="busy")
    answers = await asyncio.gather(*(edge.gateway.infer("fraud", dict(busy)) for _ in range(6 * A_SECOND)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(answers) - len(refused) >= A_SECOND
    assert refused
    assert {answer.json()["error"]["code"] for answer in refused} == {"RATE_LIMIT_EXCEEDED"}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert await others_are_answered(edge)
    listed = [await edge.gateway.http.get("/api/v1/models", headers=busy) for _ in range(5)]
    assert {answer.status_code for answer in listed} == {200}


async def test_the_api_is_told_who_is_there_by_envoy_alone(edge: Edge) -> None:
    lies = {CLIENT_ADDRESS_HEADER: "192.0.2.7", "x-forwarded-for": "192.0.2.8", "x-envoy-external-address": "192.0.2.9"}
    steering = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "99"}
    seen = (await edge.gateway.http.get("/api/v1/models", headers=lies | steering)).json()["headers"]
    assert seen[CLIENT_ADDRESS_HEADER] == "127.0.0.1"
    assert not seen.keys() & steering.keys()


async def test_a_replica_is_told_who_calls_and_by_which_arm_by_envoy_alone(edge: Edge) -> None:
    lies = {
        "x-hotswap-subject": "root",
        "x-hotswap-arm": "stable",
        "x-hotswap-chosen-by": "weight",
        "x-hotswap-fallback": "9.9.9",
        "x-hotswap-application": "Production-other-cccc",
        "x-hotswap-candidate-status": "500",
    }
    asked = edge.gateway.token(Role.APPLICATION, subject="liar") | {"x-hotswap-version": CANDIDATE.version}
    answer = await edge.gateway.infer("fraud", asked | lies)
    seen = answer.json()["headers"]
    assert (answer.json()["from"], seen["x-hotswap-subject"]) == (CANDIDATE.application, "liar")
    assert (seen["x-hotswap-arm"], seen["x-hotswap-chosen-by"]) == ("candidate", "version")
    assert not seen.keys() & {"x-hotswap-fallback", "x-hotswap-application"}
    assert "x-hotswap-candidate-status" not in answer.headers
