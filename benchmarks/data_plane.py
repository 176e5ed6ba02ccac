"""The cost of the gateway, and the whole path beside Ray Serve's own proxy.

The sides of a ratio take turns under the same client, and the median of the rounds' ratios counts: another program's
noise rarely hits both sides of one round, and never most rounds on the same side.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.bare_envoy import bare_envoy
from benchmarks.figure import Figure
from benchmarks.load import Seen, Target, load
from benchmarks.plain_serve import plain_serve
from benchmarks.world import MODEL, World
from hotswap.domain.application import application_name
from hotswap.domain.vocabulary import Environment
from serving.ray.client import RayServeClient

ROUNDS = 5
SECONDS = 3.0
CONNECTIONS = 16
BODIES = 200


@dataclass(frozen=True, slots=True)
class _Compared:
    ours: float
    theirs: float
    ratio: float


def gateway(world: World) -> list[Figure]:
    """Compare the path through Envoy (token checked, routed, counted) with the replica behind it.

    The same is measured through an Envoy that only passes on: no gateway on this machine can be much faster.
    """
    ours, direct = _gateway(world), _replica(world)
    with bare_envoy(direct.port) as port:
        bare = replace(direct, port=port)
        p50, bare_p50 = (_compare(each, direct, lambda seen: seen.p50_ms, connections=1) for each in (ours, bare))
        throughput, bare_throughput = (
            _compare(each, direct, lambda seen: seen.per_second, connections=CONNECTIONS) for each in (ours, bare)
        )
    return [
        Figure(
            name="gateway over the replica's own port, p50",
            measured=p50.ratio,
            bar=1.25,
            unit="x",
            beside=f"{p50.ours:.3f} ms over {p50.theirs:.3f} ms at 1 connection; a bare Envoy {bare_p50.ratio:.2f}x",
        ),
        Figure(
            name="gateway over the replica's own port, throughput",
            measured=throughput.ratio,
            bar=0.8,
            unit="x",
            beside=f"{throughput.ours:.0f} over {throughput.theirs:.0f} requests/s at {CONNECTIONS} connections; "
            f"a bare Envoy {bare_throughput.ratio:.2f}x",
            at_least=True,
        ),
    ]


def whole_path(world: World) -> list[Figure]:
    """Compare gateway, schema check, prediction and record with the same model in a plain deployment of Ray Serve."""
    with plain_serve(world.trained.archives[world.active.version]) as port:
        ours, plain = _gateway(world), Target(port=port, path="/", bodies=_bodies(world))
        compared = _compare(ours, plain, lambda seen: seen.per_second, connections=CONNECTIONS)
    return [
        Figure(
            name="whole path over Ray Serve's default proxy, throughput",
            measured=compared.ratio,
            bar=8,
            unit="x",
            beside=f"{compared.ours:.0f} over {compared.theirs:.0f} requests/s at {CONNECTIONS} connections",
            at_least=True,
        )
    ]


def _compare(ours: Target, theirs: Target, of: Callable[[Seen], float], *, connections: int) -> _Compared:
    rounds = [
        tuple(of(load(target, connections=connections, seconds=SECONDS)) for target in (ours, theirs))
        for _ in range(ROUNDS)
    ]
    return _Compared(
        ours=statistics.median(mine for mine, _ in rounds),
        theirs=statistics.median(other for _, other in rounds),
        ratio=statistics.median(mine / other for mine, other in rounds),
    )


def _gateway(world: World) -> Target:
    headers = {"Authorization": f"Bearer {world.stack.token}"}
    port = int(world.stack.url.rpartition(":")[2])
    return Target(port=port, path=world.path, bodies=_bodies(world), headers=headers)


def _replica(world: World) -> Target:
    """Return the replica of the active version; Serve's REST API says where it listens."""
    name = application_name(Environment.PRODUCTION, MODEL, world.active.deployment_id)

    async def ask() -> str:
        control = world.stack.control
        cluster = RayServeClient(control["HOTSWAP_RAY__DASHBOARD_URL"], control["HOTSWAP_RAY__AUTH_TOKEN"])
        applications = await cluster.applications()
        await cluster.aclose()
        return applications[name].targets[0]

    port = int(world.wait_for(ask()).rpartition(":")[2])
    # The same headers too: a token that nobody reads costs the replica next to nothing.
    return Target(port=port, path=f"/{name}{world.path}", bodies=_bodies(world), headers=_gateway(world).headers)


def _bodies(world: World) -> list[str]:
    return [json.dumps({"features": row}) for row in world.trained.requests[:BODIES]]
