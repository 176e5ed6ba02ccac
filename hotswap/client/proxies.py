"""The proxies that take requests."""

from hotswap.client.calls import Call, delete, get, post, quoted
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.requests import Say
from hotswap.schemas.responses import Page, ProxyView, WithdrawalView

PROXIES = "/api/v1/proxies"
WITHDRAWALS = "/api/v1/proxy/withdrawals"


class Proxies(ClientResource[T]):
    @call
    def list(self, *, limit: int = 200, cursor: str | None = None) -> Call[Page[ProxyView]]:
        """List the registered proxies."""
        return get(Page[ProxyView], PROXIES, {"limit": limit, "cursor": cursor})

    @call
    def remove(self, proxy: str, *, reason: str | None = None) -> Call[ProxyView]:
        """Remove a proxy that is lost for good, so that no deployment waits for it any more."""
        return delete(ProxyView, f"{PROXIES}/{quoted(proxy)}", Say(reason=reason))

    @call
    def withdraw(self, model: str, *, environment: str, reason: str) -> Call[WithdrawalView]:
        """Take a model's candidate out at the proxy of this client's address, while nothing else can be reached.

        It holds until a deployment changes the weight. `deployments.abort` is the way while the API answers.
        """
        return post(WithdrawalView, f"{WITHDRAWALS}/{quoted(environment)}/{quoted(model)}", Say(reason=reason))
