"""The API's endpoint for the traffic agents: the way for plan and reports while Redis is away."""

import httpx
import msgspec

from hotswap.domain.errors import ProxyNameTaken
from hotswap.domain.traffic import ProxyReport, TrafficPlan
from hotswap.process.plain_http import plain_client
from hotswap.settings import TrafficAgentSettings
from hotswap.traffic.bus import decode_plan
from serving.envoy.files import api_address


class PlanEndpoint:
    """A client of the endpoint.

    Every method may raise httpx.HTTPError, and OSError while its token can't be read.
    """

    def __init__(self, settings: TrafficAgentSettings) -> None:
        self._token_file = settings.agent.api_token_file
        self._http = plain_client(base_url=f"http://{api_address(settings)}/internal/traffic", timeout=2.0)

    async def plan(self) -> TrafficPlan:
        answer = await self._http.get("/plan", headers=self._headers())
        return decode_plan(answer.raise_for_status().content)

    async def report(self, report: ProxyReport) -> None:
        """Send a report. Raises ProxyNameTaken while another incarnation holds the proxy's name."""
        answer = await self._http.post("/report", content=msgspec.json.encode(report), headers=self._headers())
        if answer.status_code == httpx.codes.CONFLICT:
            raise ProxyNameTaken(_message(answer))
        answer.raise_for_status()

    async def sign_off(self, proxy: str, incarnation: str) -> None:
        """Say that the proxy has shut down, and that nobody need wait for it."""
        path, query = f"/proxies/{proxy}", {"incarnation": incarnation}
        (await self._http.delete(path, params=query, headers=self._headers())).raise_for_status()

    async def aclose(self) -> None:
        await self._http.aclose()

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"the API refuses this proxy's reports: {answer.text[:200]}"
