"""The registered proxies, and how far each is with the traffic plan."""

from hotswap.domain.proxies import ProxyState
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses.base import View


class ProxyView(View):
    """A proxy by its newest report, which came `silentSeconds` ago.

    `generation` is the newest traffic plan that its Envoy confirmed, and `isCurrent` says whether that is the present
    plan. `problem` says what keeps it from that, and `held` why single routes stay as they were, by
    `environment/model`. `replicas` are an application's that it can route to.
    """

    name: str
    state: ProxyState
    silent_seconds: float
    environments: list[Environment]
    generation: int
    lineage: int
    is_current: bool
    problem: str | None
    held: dict[str, str]
    replicas: dict[str, int]


class WithdrawalView(View):
    """A candidate that was taken out at one proxy, past its deployment."""

    proxy: str
    environment: Environment
    model: str
    deployment_id: str
    version: str
    by: str
    reason: str
