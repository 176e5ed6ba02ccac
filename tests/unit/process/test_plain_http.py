"""What asks the platform's own servers: it reads no certificates, trusts nobody, and goes past no proxy."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from hotswap.process.plain_http import plain_client
from serving.probe import HttpReplicaProbe
from tests.fixtures.certificates import Authority


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps({"version": "1.0.0"}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    writer.close()


@pytest.fixture
async def replica() -> AsyncIterator[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()
    await server.wait_closed()


async def test_a_replica_is_warmed_up_past_the_environments_proxy_and_without_reading_certificates(
    replica: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    def read(*_: object, **__: object) -> None:
        raise AssertionError("it takes 50 ms, and nobody speaks TLS there")

    monkeypatch.setattr(ssl, "create_default_context", read)
    spec: Any = SimpleNamespace(name="app", version="1.0.0", warmup_timeout_seconds=60.0)
    await HttpReplicaProbe().warm_up(spec, [replica])


async def test_what_speaks_tls_is_refused_and_not_taken_unverified(tmp_path: Path) -> None:
    Authority(tmp_path).issue(tmp_path / "certificate.pem", tmp_path / "key.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server, plain_client(timeout=60.0) as client:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await client.get(f"https://127.0.0.1:{port}/")
