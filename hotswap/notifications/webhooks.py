"""Webhooks that are told of events, each as CloudEvents' structured HTTP message. Implements `hotswap.ports.Announcer`.

An event is taken when the server says so with a 2xx; until then whoever announces it tries again. It carries the same
`id` every time, by which a server knows one that it has seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
from pydantic import SecretStr

from hotswap.domain.errors import Unavailable
from hotswap.process.bounded_http import client

CONTENT_TYPE = "application/cloudevents+json"


class WebhookAnnouncer:
    def __init__(self, urls: Mapping[str, SecretStr], *, http: httpx.AsyncClient | None = None) -> None:
        self._urls = urls
        self._http = http or client()

    async def aclose(self) -> None:
        await self._http.aclose()

    def names(self) -> Sequence[str]:
        return sorted(self._urls)

    async def announce(self, webhook: str, event: Mapping[str, Any]) -> None:
        url = self._urls.get(webhook)
        if url is None:
            raise Unavailable(f"no webhook {webhook} is configured any more; HOTSWAP_NOTIFICATIONS__WEBHOOKS has them")
        body = msgspec.json.encode(event)
        try:
            # Streamed, and not read: what a server answers beside its status is of no interest, and may be endless.
            async with self._http.stream(
                "POST", url.get_secret_value(), content=body, headers={"content-type": CONTENT_TYPE}
            ) as response:
                status = response.status_code
        except httpx.HTTPError as error:
            raise Unavailable(f"webhook {webhook} does not answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Unavailable(f"webhook {webhook} answers {status}")
