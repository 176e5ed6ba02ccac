"""What a client says in headers steers nothing but what is documented, by the real Envoy: no answer becomes an error.

Each of these names means something to Envoy or to Ray Serve. A version that would be charged for what one client sends
could be rolled back by it.
"""

import string
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hotswap.domain.headers import STEERING_HEADERS
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import Role
from hotswap.traffic.bus import KEYS, RedisTrafficBus
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.traffic import CANDIDATE, STABLE, plan

SECONDS = 0.03
"""How long a replica takes: longer than the time limits that a client asks for."""

ENVOYS = {
    "x-envoy-attempt-count": "77",
    "x-envoy-auth-partial-body": "true",
    "x-envoy-cluster-specifier": "nowhere",
    "x-envoy-decorator-operation": "lie",
    "x-envoy-downstream-service-cluster": "lie",
    "x-envoy-downstream-service-node": "lie",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-external-address": "192.0.2.9",
    "x-envoy-fault-abort-grpc-request": "13",
    "x-envoy-fault-abort-percentage": "100",
    "x-envoy-fault-abort-request": "500",
    "x-envoy-fault-delay-request": "60000",
    "x-envoy-fault-delay-request-percentage": "100",
    "x-envoy-fault-throughput-response": "1",
    "x-envoy-force-trace": "true",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-internal": "lie",
    "x-envoy-ip-tags": "lie",
    "x-envoy-is-timeout-retry": "true",
    "x-envoy-livestream": "true",
    "x-envoy-max-retries": "99",
    "x-envoy-original-dst-host": "127.0.0.1:1",
    "x-envoy-original-host": "lie",
    "x-envoy-original-method": "GET",
    "x-envoy-original-path": "/internal",
    "x-envoy-original-url": "http://127.0.0.1:1/",
    "x-envoy-peer-metadata": "lie",
    "x-envoy-peer-metadata-id": "lie",
    "x-envoy-ratelimited": "true",
    "x-envoy-retriable-header-names": ":status",
    "x-envoy-retriable-status-codes": "200",
    "x-envoy-retry-grpc-on": "internal",
    "x-envoy-retry-on": "retriable-status-codes,retriable-headers,gateway-error,5xx,retriable-4xx",
    "x-envoy-upstream-alt-stat-name": "lie",
    "x-envoy-upstream-canary": "true",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-upstream-rq-timeout-alt-response": "true",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-service-time": "1",
    "x-envoy-upstream-stream-duration-ms": "1",
}
"""Every request header that Envoy's manual has under this prefix, with a value that would hurt."""

OTHERS = {
    "baggage": "\xff",
    "content-type": "application/grpc-web",
    "expect": "100-continue",
    "forwarded": "for=192.0.2.9;proto=gopher",
    "grpc-accept-encoding": "lie",
    "grpc-timeout": "1n",
    "max-forwards": "0",
    "proxy-authorization": "\xff",
    "proxy-connection": "close",
    "te": "trailers",
    "traceparent": "\xff",
    "tracestate": "\xff",
    "via": "\xff",
    "x-b3-sampled": "\xff",
    "x-b3-traceid": "lie",
    "x-client-trace-id": "lie",
    "x-datadog-trace-id": "\xff",
    "x-forwarded-client-cert": "\xff",
    "x-forwarded-for": "lie, 192.0.2.9",
    "x-forwarded-host": "\xff",
    "x-forwarded-port": "-1",
    "x-forwarded-proto": "gopher",
    "x-http-method-override": "GET",
    "x-ot-span-context": "\xff",
    "x-real-ip": "\xff",
}
"""More that proxies read, and text that isn't any."""

RAYS = {
    "serve-multiplexed-model-id": "\xff",
    "x-request-disconnect-disabled": "\xff",
    "x-request-timeout-seconds": "0.001",
    "x-session-id": "\xff",
}
"""What Ray Serve reads before a model's own application is asked: what is no UTF-8 there is its error."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> AsyncIterator[Gateway]:
    """All traffic goes to a candidate that takes its time, with a stable beside it."""
    api = await Upstream.start("api", delay=SECONDS)
    found = Gateway(tmp_path_factory.mktemp("edge"), api.target, valkey_url)
    await found.start_envoy()
    for arm in (STABLE, CANDIDATE):
        upstream = await found.upstream(arm.application, delay=SECONDS)
        found.serve.targets |= {arm.application: (upstream.target,)}
    async with Redis.from_url(valkey_url) as redis, found.agent():
        await redis.delete(*KEYS)
        await found.publish(RedisTrafficBus(redis), plan(1, TOTAL_WEIGHT))
        yield found
    await found.close()
    await api.kill()


async def seen(gateway: Gateway, headers: dict[str, str], **steering: str) -> dict[str, str]:
    """What the candidate was told, which has answered."""
    asked = gateway.token(Role.APPLICATION) | steering
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (asked | headers).items()]
    answer = await gateway.http.post("/api/v1/inference/fraud", json={"features": []}, headers=raw)
    assert (answer.status_code, answer.json().get("from")) == (200, CANDIDATE.application), (headers, answer.text)
    assert "x-hotswap-fallback" not in answer.headers
    told: dict[str, str] = answer.json()["headers"]
    return told


@pytest.mark.parametrize("steering", [{}, {"x-hotswap-version": CANDIDATE.version}], ids=["by weight", "by version"])
@pytest.mark.parametrize("headers", [ENVOYS, OTHERS, RAYS], ids=["Envoy's", "others", "Ray's"])
async def test_no_header_of_a_client_makes_a_good_answer_an_error(
    gateway: Gateway, headers: dict[str, str], steering: dict[str, str]
) -> None:
    for name, value in headers.items():
        told = await seen(gateway, {name: value}, **steering)
        if name in {*ENVOYS, *RAYS, *STEERING_HEADERS}:
            assert told.get(name) != value, f"{name} is passed on as the client wrote it"
    assert await seen(gateway, headers, **steering), "all at once"


async def test_no_byte_of_a_requests_id_reaches_a_replica_that_is_no_text(gateway: Gateway) -> None:
    printable = string.digits + string.ascii_letters + string.punctuation
    assert (await seen(gateway, {"x-request-id": printable}))["x-request-id"] == printable
    for byte in [0x09, *range(0x80, 0x100)]:
        told = await seen(gateway, {"x-request-id": f"a{chr(byte)}b"})
        assert told["x-request-id"] == "a?b"
    assert len((await seen(gateway, {}))["x-request-id"]) == 36, "one is made where none is sent"


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto"])
async def test_a_grpc_request_is_refused_before_any_version_is_asked(gateway: Gateway, kind: str) -> None:
    """Envoy would write a version's errors as 200 with a word in a header, and no failure would be counted."""
    for path in ("/api/v1/inference/fraud", "/v2/models/fraud/infer"):
        headers = gateway.token(Role.APPLICATION) | {"content-type": kind}
        answer = await gateway.http.post(path, content=b"{}", headers=headers)
        assert (answer.status_code, answer.headers["grpc-status"]) == (200, "2"), "as gRPC's clients read it"
        assert "no gRPC" in answer.headers["grpc-message"]
        assert answer.content == b""
