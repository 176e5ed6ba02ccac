"""Clients that never stop asking: continuous load, with every answer kept for the account at the end."""

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass

import httpx

CLIENTS = 6
PAUSE_SECONDS = 0.012


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0 is an answer that never came. Times are Unix time in seconds; `version` is who is marked to answer."""

    asked_at: float
    answered_at: float
    status: int
    version: str | None
    problem: str = ""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class Traffic:
    """Runs in a thread of its own from `start` to `stop`; `answers` only grows."""

    def __init__(self, url: str, token: str, model: str, rows: list[list[float]]) -> None:
        self.answers: list[Answer] = []
        self._url = f"{url}/api/v1/inference/{model}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._bodies = itertools.cycle([{"features": row} for row in rows])
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
        async with httpx.AsyncClient(headers=self._headers, timeout=10, trust_env=False) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(CLIENTS)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._stopping.is_set():
            asked_at = time.time()
            try:
                answer = await client.post(self._url, json=next(self._bodies))
                status, version = answer.status_code, answer.headers.get("x-hotswap-version")
                problem = "" if answer.is_success else answer.text[:300]
            except httpx.HTTPError as error:
                status, version, problem = 0, None, repr(error)
            self.answers.append(Answer(asked_at, time.time(), status, version, problem))
            await asyncio.sleep(PAUSE_SECONDS)
