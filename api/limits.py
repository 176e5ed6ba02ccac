"""Rate limits for registrations, deployments, logins and token exchanges, counted in Redis over all processes.

Windows slide: 10 a minute is 10 in any 60 seconds, and `Retry-After` says when the oldest of them leaves. While Redis
is away nothing can be counted. Registrations and deployments go on then, because the urgent one may be made just when
Redis is down. The exchanges that programs need for them go on too: a service token is too long to be guessed. Logins
are refused, because a password could be guessed without end meanwhile, and a caller that has a token needs no login.
Calls that stop or take back something are never counted. Envoy limits inference (`serving/envoy/gateway.py`).
"""

import ipaddress
import logging
import math
import time

from fastapi import Request, Response
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hotswap.domain.errors import RateLimited, Unavailable
from hotswap.domain.headers import CLIENT_ADDRESS_HEADER
from hotswap.settings import LimitSettings

PREFIX = "hotswap:limits"
PATIENCE_SECONDS = 0.5
"""The time that Redis may take to count, before it is taken for away."""

LIMITED: dict[int | str, dict[str, str]] = {
    429: {"description": "too many requests; `Retry-After` says when to try again"}
}
"""The `responses` of a route that is limited."""

logger = logging.getLogger(__name__)


def impatient(redis_url: str) -> Redis:
    """Return a client that reports within about a second that Redis is away; redis-py would try for many."""
    return Redis.from_url(
        redis_url,
        socket_connect_timeout=PATIENCE_SECONDS,
        socket_timeout=PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), retries=1),
    )


class RateLimits:
    """`redis` should be an impatient client, which whoever made it closes."""

    def __init__(self, redis: Redis, settings: LimitSettings) -> None:
        self._settings = settings
        storage = RedisStorage(
            "redis://",  # not looked at: the pool knows the address
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]
        )
        self._limiter = MovingWindowRateLimiter(storage)

    async def check_registration(self, caller: str, response: Response) -> None:
        """Count a registration, and write what is left into the response. Raises RateLimited."""
        response.headers.update(await self._check_or_go_on("registrations", self._settings.registrations, caller))

    async def check_deployment(self, caller: str, response: Response) -> None:
        """Count a deployment, and write what is left into the response. Raises RateLimited."""
        response.headers.update(await self._check_or_go_on("deployments", self._settings.deployments, caller))

    async def check_exchange_from(self, address: str) -> None:
        """Count an attempt from this address, before its secret is checked. Raises RateLimited."""
        limit = self._settings.exchanges_from_address
        await self._check_or_go_on("token exchanges from this address", limit, network_of(address))

    async def check_exchange_of(self, token_id: str) -> None:
        """Count an exchange of this token, once its secret was found right. Raises RateLimited.

        If wrong secrets counted too, anybody who knows the id could lock out the token's program.
        """
        await self._check_or_go_on("exchanges of this token", self._settings.exchanges_of_token, token_id)

    async def check_login(self, user: str, address: str) -> None:
        """Count an attempt before its password is checked. Raises RateLimited, and Unavailable while Redis is away.

        A user's attempts are counted for each address by itself: a stranger's wrong ones don't lock the user out.
        """
        network = network_of(address)
        try:
            await self._check("logins from this address", self._settings.logins_from_address, network)
            await self._check("logins of this user from this address", self._settings.logins_of_user, network, user)
        except StorageError as error:
            raise Unavailable(
                "logins are refused while Redis, which counts them, doesn't answer; try again later, or use a token"
            ) from error

    async def _check_or_go_on(self, what: str, limit: int, key: str) -> dict[str, str]:
        try:
            return await self._check(what, limit, key)
        except StorageError as error:
            logger.warning("%s are not limited: Redis can't count them", what, exc_info=error.storage_error)
            return {}

    async def _check(self, what: str, limit: int, *key: str) -> dict[str, str]:
        """Count a call, and return what is left as the IETF's RateLimit header fields.

        Raises RateLimited and StorageError.
        """
        if limit == 0:
            return {}
        item = RateLimitItemPerMinute(limit)
        admitted = await self._limiter.hit(item, what, *key)
        seen = await self._limiter.get_window_stats(item, what, *key)
        seconds = min(60, max(1, math.ceil(seen.reset_time - time.time())))
        if not admitted:
            raise RateLimited(f"there is a limit of {limit} {what} a minute; wait {seconds} s", retry_after=seconds)
        name = what.replace(" ", "-")
        return {
            "RateLimit-Policy": f'"{name}";q={limit};w=60',
            "RateLimit": f'"{name}";r={seen.remaining};t={seconds}',
        }


def client_address(request: Request) -> str:
    """Return the client's address at the public address, as Envoy tells it; for a direct connection, its peer."""
    return request.headers.get(CLIENT_ADDRESS_HEADER) or (request.client.host if request.client else "nowhere")


def network_of(address: str) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    One host may use all addresses of its /64.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
