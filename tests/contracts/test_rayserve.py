"""Ray Serve: `target_groups` (alpha), the whole-config PUT, and how replicas leave that have ports of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest
from ray.serve._private import constants
from redis.asyncio import Redis

from hotswap.domain.application import ApplicationHealth
from hotswap.domain.headers import RAYS_HEADERS, REQUEST_ID_HEADER, UNWATCHED_HEADER
from hotswap.domain.traffic import Arm, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment, Role
from hotswap.traffic.bus import KEYS, RedisTrafficBus
from serving.envoy.clusters import IDLE_SECONDS
from serving.ray.client import PATH, RayServeClient
from tests.contracts.conftest import application, state_of
from tests.contracts.toy import PID_HEADER, SECONDS_HEADER
from tests.fixtures.envoy import Gateway
from tests.fixtures.patience import patient, until

pytestmark = [pytest.mark.slow, pytest.mark.soak]

ARM = Arm("Production-fraud-aaaa", "1.0.0", "dep-aaaa")


async def details(serve: RayServeClient) -> dict[str, Any]:
    found: dict[str, Any] = (await serve._http.get(PATH)).raise_for_status().json()
    return found


async def replicas(serve: RayServeClient, name: str) -> set[str]:
    found = (await details(serve))["applications"][name]["deployments"]["Replica"]["replicas"]
    return {replica["replica_id"] for replica in found if replica["state"] == "RUNNING"}


async def ask(target: str, name: str, *, seconds: float = 0.0) -> httpx.Response:
    async with httpx.AsyncClient(timeout=patient(60)) as client:
        return await client.post(f"http://{target}/{name}/any", headers={SECONDS_HEADER: str(seconds)})


async def is_refused(target: str, name: str) -> bool:
    try:
        answer = await ask(target, name)
    except httpx.ConnectError:
        return True
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return False  # it was accepted at the very end, and is retried by Envoy
    assert answer.status_code == 200
    return False


@pytest.mark.relied_on_by("serving/envoy/clusters.py")
def test_a_replica_keeps_an_idle_connection_for_longer_than_envoy_does() -> None:
    assert constants.DEFAULT_UVICORN_KEEP_ALIVE_TIMEOUT_S > IDLE_SECONDS
    assert constants.RAY_SERVE_HTTP_KEEP_ALIVE_TIMEOUT_S == 0, "0 leaves it at the default"


@pytest.mark.relied_on_by("serving/ray/client.py", "serving/agent.py", "hotswap/stack/ports.py")
async def test_target_groups_name_each_running_replica_and_its_own_port(serve: RayServeClient) -> None:
    await serve.put([application("two", replicas=2)])
    state = await state_of(serve, "two", replicas=2)
    said = await details(serve)
    [group] = [group for group in said["target_groups"] if group["route_prefix"] == "/two"]
    assert {"route_prefix", "targets"} <= group.keys()
    assert all({"ip", "port", "name"} <= target.keys() for target in group["targets"])
    names = {target["name"] for target in group["targets"]}
    assert names == {f"SERVE_REPLICA::two#Replica#{replica}" for replica in await replicas(serve, "two")}
    assert state.targets == tuple(sorted(f"127.0.0.1:{target['port']}" for target in group["targets"]))
    assert said["http_options"]["host"] == "127.0.0.1"
    answers = [await ask(target, "two") for target in state.targets]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.headers[PID_HEADER] for answer in answers}) == 2, "each port is one replica's"
    assert answers[0].json() == {"path": "/two/any"}, "the application sees its route prefix"


@pytest.mark.relied_on_by("serving/ray/client.py", "activities/replicas.py")
async def test_an_application_that_can_not_start_fails_with_its_exception_and_lists_only_the_proxy(
    serve: RayServeClient,
) -> None:
    await serve.put([application("broken")])
    state = await state_of(serve, "broken", replicas=1)
    assert state.health is ApplicationHealth.FAILED
    assert state.message.endswith("LookupError: broken has no weights")
    assert state.targets == ()
    groups = [group for group in (await details(serve))["target_groups"] if group["route_prefix"] == "/broken"]
    assert not [t for group in groups for t in group["targets"] if t["name"].startswith("SERVE_REPLICA::")]


@pytest.mark.relied_on_by("serving/ray/client.py", "activities/replicas.py")
async def test_a_put_is_the_whole_desired_state_and_leaves_what_it_repeats_alone(serve: RayServeClient) -> None:
    await serve.put([application("stays"), application("goes")])
    [stays] = (await state_of(serve, "stays", replicas=1)).targets
    await state_of(serve, "goes", replicas=1)
    before, answered = await replicas(serve, "stays"), await ask(stays, "stays")
    await serve.put([application("stays"), application("comes")])
    await state_of(serve, "comes", replicas=1)
    async with asyncio.timeout(patient(60)):
        while "goes" in await serve.applications():
            await asyncio.sleep(0.1)
    await serve.put([application("stays"), application("comes")])
    after = await ask(stays, "stays")
    assert await replicas(serve, "stays") == before
    assert after.headers[PID_HEADER] == answered.headers[PID_HEADER]
    assert (await serve.applications()).keys() == {"stays", "comes"}


@pytest.mark.relied_on_by("serving/ray/client.py", "activities/replicas.py")
async def test_what_serve_was_told_is_seen_at_once_also_while_it_builds(serve: RayServeClient) -> None:
    await serve.put([application("built", replicas=2), application("grows", most=3)])
    seen = {name: state for name, state in (await serve.applications()).items() if name in {"built", "grows"}}
    assert {name: state.told for name, state in seen.items()} == {"built": 2, "grows": 1}
    assert all(state.is_building == (state.wanted is None) for state in seen.values()), (
        "no deployment until it is built"
    )
    assert not (await state_of(serve, "built", replicas=2)).is_building
    await serve.put([application("built", replicas=1)])
    async with asyncio.timeout(patient(60)):
        while (await serve.applications()).keys() != {"built"}:
            await asyncio.sleep(0.1)
    assert (await serve.applications())["built"].told == 1


@pytest.mark.relied_on_by("hotswap/stack/environment.py", "activities/replicas.py", "workflows/retirement.py")
async def test_a_replica_that_is_removed_ends_what_it_has_answers_on_for_a_while_and_then_refuses(
    serve: RayServeClient,
) -> None:
    await serve.put([application("leaves")])
    [target] = (await state_of(serve, "leaves", replicas=1)).targets
    slow = asyncio.create_task(ask(target, "leaves", seconds=6))
    await asyncio.sleep(0.5)
    await serve.put([])
    async with asyncio.timeout(patient(30)):
        while (state := (await serve.applications()).get("leaves")) is not None and state.targets:
            await asyncio.sleep(0.05)
    # It is listed no more, and who has not heard of that yet is still answered.
    assert (await ask(target, "leaves")).status_code == 200
    assert (await slow).status_code == 200
    async with asyncio.timeout(patient(30)):
        while not await is_refused(target, "leaves"):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def load(gateway: Gateway, statuses: list[tuple[int, str]]) -> AsyncIterator[None]:
    """Requests through Envoy, quick and slow, until the block ends; every answer that isn't 200 is noted."""
    over = asyncio.Event()

    async def client(seconds: float) -> None:
        while not over.is_set():
            answer = await gateway.infer("fraud", **{SECONDS_HEADER: str(seconds)})
            statuses.append((answer.status_code, answer.headers.get(PID_HEADER, answer.text)))
            await asyncio.sleep(0.01)

    clients = [asyncio.create_task(client(seconds)) for seconds in (0.0, 0.0, 0.2, 3.0)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*clients)


@pytest.mark.relied_on_by("serving/agent.py", "serving/envoy/clusters.py", "hotswap/stack/environment.py")
async def test_no_request_through_envoy_is_lost_when_replicas_leave(
    serve: RayServeClient, gateway: Gateway, valkey_url: str
) -> None:
    name = ARM.application
    await serve.put([application(name, replicas=3)])
    await state_of(serve, name, replicas=3)
    statuses: list[tuple[int, str]] = []
    async with Redis.from_url(valkey_url) as redis:
        await redis.delete(*KEYS)
        route = Route(Environment.PRODUCTION, "fraud", ARM, None, 0, Fence(1, 1))
        async with gateway.agent(serve=serve):
            await gateway.publish(RedisTrafficBus(redis), TrafficPlan(1, (route,)))
            assert (await gateway.infer("fraud")).status_code == 200
            async with load(gateway, statuses):
                await until(lambda: len(statuses) >= 100, what="a hundred answers of three replicas")
                await serve.put([application(name, replicas=1)])
                await state_of(serve, name, replicas=1)
                pids = {int(pid) for status, pid in statuses if status == 200}
                await until(lambda: sum(map(psutil.pid_exists, pids)) == 1, what="the end of those that left")
                mark = len(statuses)
                await until(lambda: len(statuses) >= mark + 100, what="a hundred answers of the one that is left")
    assert {status for status, _ in statuses} == {200}, [said for status, said in statuses if status != 200][:3]
    assert len({pid for _, pid in statuses[:mark]}) >= 3, "replicas did leave"
    assert len({pid for _, pid in statuses[mark:]}) == 1


@pytest.mark.relied_on_by("serving/envoy/gateway.py")
async def test_no_header_that_ray_reads_makes_an_answer_an_error(
    serve: RayServeClient, gateway: Gateway, valkey_url: str
) -> None:
    """Ray Serve decodes some before our application is asked; what it fails there would be a version's error."""
    said = {name: value for name, value in vars(constants).items() if name.startswith("SERVE_") and "HEADER" in name}
    said |= {"session": constants.SERVE_SESSION_ID, "model": constants.SERVE_MULTIPLEXED_MODEL_ID}
    names = {str(value).lower().replace("_", "-") for value in said.values()}
    assert names >= {REQUEST_ID_HEADER, UNWATCHED_HEADER, *RAYS_HEADERS}, "these are Ray's own names"
    name = ARM.application
    await serve.put([application(name)])
    [target] = (await state_of(serve, name, replicas=1)).targets
    async with Redis.from_url(valkey_url) as redis, httpx.AsyncClient(timeout=patient(60)) as directly:
        await redis.delete(*KEYS)
        route = Route(Environment.PRODUCTION, "fraud", ARM, None, 0, Fence(1, 1))
        async with gateway.agent(serve=serve):
            await gateway.publish(RedisTrafficBus(redis), TrafficPlan(1, (route,)))
            for header in sorted({*names, "traceparent", "tracestate", "x-entity-id", "authorization-2"}):
                hostile = {header.encode(): b"a\xffb"}
                if header == REQUEST_ID_HEADER:
                    assert (await directly.post(f"http://{target}/{name}/any", headers=hostile)).status_code == 500
                asked = {key.encode(): value.encode() for key, value in gateway.token(Role.APPLICATION).items()}
                answer = await gateway.http.post("/api/v1/inference/fraud", headers=asked | hostile)
                assert answer.status_code == 200, (header, answer.text)


@pytest.mark.relied_on_by("serving/loopback.py", "serving/ray/launcher.py", "hotswap/stack/environment.py")
async def test_nothing_of_rays_listens_beyond_this_machine(serve: RayServeClient, ray_head: Any) -> None:
    await serve.put([application("listens")])
    [target] = (await state_of(serve, "listens", replicas=1)).targets
    replica = int((await ask(target, "listens")).headers[PID_HEADER])
    head = psutil.Process(ray_head.pid("ray"))
    tree = {process.pid: process for process in [head, *head.children(recursive=True)]}
    assert replica in tree
    listening = set()
    for process in tree.values():
        with contextlib.suppress(psutil.NoSuchProcess):  # idle workers of Ray's come and go
            listening |= {
                (process.name(), connection.laddr.ip, connection.laddr.port)
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    assert len(listening) > 10
    assert [found for found in listening if found[1].removeprefix("::ffff:") not in {"127.0.0.1", "::1"}] == []
