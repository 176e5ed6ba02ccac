"""Clients that never stop asking: continuous load, with every answer kept for the account at the end."""

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass, replace

import httpx

from hotswap.domain.headers import FALLBACK_HEADER, VERSION_HEADER

CLIENTS = 6
PAUSE_SECONDS = 0.012
TIMEOUT_SECONDS = 10.0
"""A client waits so long for an answer."""


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """`status` 0 is an answer that never came. Times are Unix time in seconds; `version` is who is marked to answer.

    `fallback_from` is the candidate's version that failed it, where the stable answered. `request_id` is what a
    prediction names itself by, its record's too. `attempts` counts the client's own.
    """

    asked_at: float
    answered_at: float
    status: int
    version: str | None
    problem: str = ""
    fallback_from: str | None = None
    request_id: str | None = None
    attempts: int = 1

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class DemoTraffic:
    """Runs in a thread of its own from `start` to `stop`; `answers` only grows.

    With `ask_again_after` a client asks once more, so many seconds later, when it got no prediction.
    """

    def __init__(
        self,
        url: str,
        token: str,
        model: str,
        rows: list[list[float]],
        *,
        clients: int = CLIENTS,
        pause: float = PAUSE_SECONDS,
        ask_again_after: float | None = None,
    ) -> None:
        self.answers: list[DemoAnswer] = []
        self._clients = clients
        self._pause = pause
        self._url = f"{url}/api/v1/inference/{model}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._bodies = itertools.cycle([{"features": row} for row in rows])
        self._ask_again_after = ask_again_after
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()), name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the last question has been answered."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    async def _ask_all(self) -> None:
        async with httpx.AsyncClient(headers=self._headers, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(self._clients)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._stopping.is_set():
            body = next(self._bodies)
            answer = await self._ask_once(client, body)
            if not answer.succeeded and self._ask_again_after is not None:
                await asyncio.sleep(self._ask_again_after)
                again = await self._ask_once(client, body)
                answer = replace(again, asked_at=answer.asked_at, attempts=2)
            self.answers.append(answer)
            await asyncio.sleep(self._pause)

    async def _ask_once(self, client: httpx.AsyncClient, body: dict[str, list[float]]) -> DemoAnswer:
        asked_at = time.time()
        try:
            answer = await client.post(self._url, json=body)
        except httpx.HTTPError as error:
            return DemoAnswer(asked_at, time.time(), 0, None, repr(error))
        marked = DemoAnswer(
            asked_at,
            time.time(),
            answer.status_code,
            version=answer.headers.get(VERSION_HEADER),
            fallback_from=answer.headers.get(FALLBACK_HEADER),
        )
        if not answer.is_success:
            return replace(marked, problem=answer.text[:300])
        return replace(marked, request_id=answer.json()["requestId"])
