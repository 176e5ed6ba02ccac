"""A webhook as a metric: somebody else's server is told of the deployment, and says whether it passes.

Deployments name a webhook, and the settings know where it is. What is not plainly a yes or a no is an error.
"""

import time
from collections.abc import Callable, Mapping

import httpx
import msgspec
from pydantic import SecretStr

from hotswap.domain.analysis import Metric, Reading, Subject
from hotswap.domain.errors import Unavailable
from hotswap.process.bounded_http import asked, client

LONGEST_REASON = 500


class _Answer(msgspec.Struct):
    passed: bool
    reason: str = ""


class WebhookMeter:
    def __init__(
        self,
        urls: Mapping[str, SecretStr],
        *,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._urls = urls
        self._http = http or client()
        self._clock = clock

    async def aclose(self) -> None:
        await self._http.aclose()

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        url = self._urls.get(metric.query)
        if url is None:
            raise Unavailable(
                f"no webhook {metric.query} is configured; HOTSWAP_ANALYSIS__WEBHOOKS has those there are"
            )
        request = self._http.build_request("POST", url.get_secret_value(), json=_told(metric, subject))
        status, body = await asked(self._http, request, who=f"webhook {metric.query}")
        if status != httpx.codes.OK:
            raise Unavailable(f"webhook {metric.query} answers {status}")
        try:
            answer = msgspec.convert(body, _Answer)
        except msgspec.ValidationError as error:
            raise Unavailable(f"webhook {metric.query} answers neither yes nor no: {error}") from None
        return Reading(self._clock(), passed=answer.passed, message=answer.reason[:LONGEST_REASON])


def _told(metric: Metric, subject: Subject) -> dict[str, object]:
    return {
        "metric": metric.name,
        "deploymentId": subject.deployment_id,
        "environment": subject.environment,
        "model": subject.model,
        "candidateVersion": subject.candidate_version,
        "stableVersion": subject.stable_version,
        "candidate": subject.candidate,
        "stable": subject.stable,
        "weight": subject.weight / 100,
        "since": subject.since,
    }
