"""What a chaos test sees of a stack without asking its control loop, and how it kills."""

import os
import signal
import socket
from collections.abc import Container
from typing import Any

import httpx
import psutil

from hotswap.bootstrap.layout import Layout
from hotswap.process.sessions import session_members
from hotswap.stack import processes
from serving.envoy.fallback import INSIDE
from serving.ray.client import PATH, read_applications
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_part(stack: Stack, part: str) -> None:
    """With -9; returns when the supervisor has started another process for it, which may not be ready yet."""
    old = stack.pid(part)
    kill(old)
    wait_until(lambda: stack.parts.get(part, {}).get("pid", old) != old, what=f"another {part}")


def details(stack: Stack) -> dict[str, Any]:
    """What Ray Serve says of everything."""
    token = (stack.data / "secrets" / "ray_token").read_text().strip()
    address = stack.environment["urls"]["rayDashboard"]
    found: dict[str, Any] = httpx.get(f"{address}{PATH}", headers={"Authorization": f"Bearer {token}"}).json()
    return found


def replicas(stack: Stack, model: str) -> set[int]:
    """The processes of a model's running replicas; those of a version that is only kept warm are nobody's business."""
    return replicas_of(stack, weights(stack, model))


def replicas_of(stack: Stack, applications: Container[str]) -> set[int]:
    return {
        replica["pid"]
        for name, application in details(stack)["applications"].items()
        if name in applications
        for deployment in application["deployments"].values()
        for replica in deployment["replicas"]
        if replica["state"] == "RUNNING"
    }


def routed_as_they_are(stack: Stack, model: str) -> bool:
    """Whether Envoy sends a model's requests to exactly the replicas that Ray Serve has running, and deems them fit."""
    routed = weights(stack, model)
    running = {
        (name, target)
        for name, state in read_applications(details(stack)).items()
        if name in routed
        for target in state.targets
    }
    said = httpx.get(f"{stack.environment['urls']['envoyAdmin']}/clusters").text
    flags = {
        tuple(line.split("::")[:2]): line.rpartition("::")[2]
        for line in said.splitlines()
        if "::health_flags::" in line
    }
    return {key: flag for key, flag in flags.items() if key[0] in routed} == dict.fromkeys(running, "healthy")


def kill_replica(stack: Stack, model: str) -> None:
    """With -9; returns when another one has taken its place."""
    before = replicas(stack, model)
    victim = min(before)
    kill(victim)
    wait_until(
        lambda: (
            len(now := replicas(stack, model)) == len(before) and victim not in now and routed_as_they_are(stack, model)
        ),
        what="another replica that is sent requests",
    )


def weights(stack: Stack, model: str) -> dict[str, int]:
    """By application, as Envoy has them in its hands."""
    dump = httpx.get(
        f"{stack.environment['urls']['envoyAdmin']}/config_dump", params={"resource": "dynamic_route_configs"}
    ).json()
    [hosts] = [entry["route_config"]["virtual_hosts"] for entry in dump["configs"]]
    return {
        cluster["name"].partition(INSIDE)[0]: cluster["weight"]
        for host in hosts
        for route in host["routes"]
        for cluster in route.get("route", {}).get("weighted_clusters", {}).get("clusters", ())
        if model in cluster["name"] and cluster.get("weight")
    }


def everything(stack: Stack) -> set[int]:
    """Every process of a stack: its guardian, all sessions that its supervisor has recorded, PostgreSQL's backends."""
    layout = Layout(stack.data)
    recorded = processes.load(layout.processes)
    members = {pid for entry in recorded for pid in session_members(entry.session)}
    [supervisor] = [entry.pid for entry in recorded if entry.name == "supervisor"]
    return members | {psutil.Process(supervisor).ppid()} | set(processes.postgres_on(layout.postgres))


def memory(pid: int) -> int:
    """Bytes that are this process's alone."""
    return int(psutil.Process(pid).memory_full_info().uss)


def accepts(address: str) -> bool:
    """Whether anybody listens there."""
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host.removeprefix("http://"), int(port))) == 0
