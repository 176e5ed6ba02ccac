"""Probes of parts. Each is one attempt that returns or raises; the supervisor decides how often to ask.

A healthy answer can be another server's, so a port's listener must belong to the part's own session. What a probe
asks is the cheapest question that only a working server answers.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from hotswap.process.plain_http import plain_client
from hotswap.process.sessions import session_members
from hotswap.stack.ports import HOST

PartProbe = Callable[[], Awaitable[None]]
TIMEOUT_S = 2.0
SILENT_S = 10.0
"""Ten of `hotswap.telemetry.logs`'s beats."""


class NotReady(Exception):
    """The part doesn't do its work yet; the message says what it answered."""


def http(port: int, path: str, *, expect: frozenset[int] = frozenset({200}), bearer: str | None = None) -> PartProbe:
    """Probe by one GET on this machine, answered with one of the expected statuses."""

    async def probe() -> None:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with plain_client(timeout=TIMEOUT_S) as client:
            answer = await client.get(f"http://{HOST}:{port}{path}", headers=headers)
        if answer.status_code not in expect:
            raise NotReady(f"GET {path} answered {answer.status_code}")

    return probe


def valkey(port: int, password: str) -> PartProbe:
    """Probe by PING, with our password; while it loads its file it answers with an error."""

    async def probe() -> None:
        from redis.asyncio import Redis

        async with Redis(host=HOST, port=port, password=password, socket_timeout=TIMEOUT_S) as client:
            await client.execute_command("PING")  # type: ignore[no-untyped-call]

    return probe


def postgres(port: int, password: str) -> PartProbe:
    """Probe by a log-in as the administrator; a server that still recovers refuses it."""

    async def probe() -> None:
        import psycopg

        connection = await psycopg.AsyncConnection.connect(
            host=HOST, port=port, user="postgres", password=password, dbname="postgres", connect_timeout=2
        )
        await connection.close()

    return probe


def file(path: Path) -> PartProbe:
    """Probe whether the part has said that it is ready (`hotswap.telemetry.logs.mark_ready`)."""

    async def probe() -> None:
        if not path.exists():  # noqa: ASYNC240  one stat of a local file
            raise NotReady("has not said that it is ready")

    return probe


def beats(path: Path) -> PartProbe:
    """Probe whether the part still says that it is ready: its event loop turns."""

    async def probe() -> None:
        silent = time.time() - path.stat().st_mtime  # noqa: ASYNC240  one stat of a local file
        if silent > SILENT_S:
            raise NotReady(f"its event loop has not turned for {silent:.0f} s")

    return probe


def both(first: PartProbe, second: PartProbe) -> PartProbe:
    async def probe() -> None:
        await first()
        await second()

    return probe


def listens(session: int, port: int) -> bool:
    """Return whether a process of this session listens on the port."""
    for pid in session_members(session):
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                    return True
    return False
