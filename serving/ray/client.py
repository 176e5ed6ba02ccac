"""Ray Serve's REST API: the whole desired configuration down, what runs up.

The PUT deletes every application that it doesn't name, so only whoever holds the writer's lease may call it. With the
cluster's token this API is remote code execution: it listens on localhost or a closed network only.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from hotswap.domain.application import ApplicationHealth, ApplicationSpec, ApplicationState, Desired
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.recording import Recording
from hotswap.domain.resources import Cluster
from serving.answers import answering, readable
from serving.ray.state import read_cluster

PUT_SECONDS = 10.0
"""Shorter than what the writer's lease must have left (`activities/convergence.py`)."""
PATH = "/api/serve/applications/"
MOST_REASON = 2_000

SERVE = "Ray Serve"

_HEALTH = {
    "RUNNING": ApplicationHealth.RUNNING,
    "DEPLOY_FAILED": ApplicationHealth.FAILED,
    "DELETING": ApplicationHealth.STOPPING,
}


class RayServeClient:
    """Implements `hotswap.ports.ServeCluster` and `ClusterState`; every method raises Unavailable while Ray is away.

    `host` is what Serve's replicas listen on, `port` its own proxy's; `timeout` in seconds is for one call.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        timeout: float = PUT_SECONDS,
    ) -> None:
        self._listen = {"host": host, "port": port}
        self._http = httpx.AsyncClient(base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout)
        self._reading = asyncio.Lock()
        self._read_begun = float("-inf")
        self._seen: dict[str, ApplicationState] = {}

    async def put(self, applications: Sequence[Desired]) -> None:
        config = {
            "proxy_location": "HeadOnly",
            "http_options": self._listen,
            "applications": [application_config(each) for each in applications if each.replicas > 0],
        }
        with answering(SERVE):
            answer = await self._http.put(PATH, json=config)
            if answer.status_code == httpx.codes.BAD_REQUEST:
                raise ValidationFailed(f"{SERVE} refuses the configuration: {answer.text[:1000]}")
            answer.raise_for_status()

    async def applications(self) -> dict[str, ApplicationState]:
        """Return the applications, as seen after this was called.

        All callers that wait at one time share one answer: each answer makes Serve look at every replica, and a dozen
        deployments that ask at once would keep it from starting any.
        """
        asked = time.monotonic()
        async with self._reading:
            if self._read_begun < asked:
                begun = time.monotonic()
                with answering(SERVE):
                    answer = (await self._http.get(PATH)).raise_for_status()
                with readable(SERVE):
                    self._seen, self._read_begun = read_applications(answer.json()), begun
            return dict(self._seen)

    async def resources(self) -> Cluster:
        return await read_cluster(self._http)

    async def aclose(self) -> None:
        await self._http.aclose()


def _args(spec: ApplicationSpec) -> dict[str, Any]:
    """Return the arguments; newer ones only if they are used, so that an upgrade of HotSwap restarts no replica."""
    args: dict[str, Any] = msgspec.to_builtins(spec)
    if not spec.requirements:
        del args["requirements"]
    if spec.recording == Recording():
        del args["recording"]
    if spec.resources.max_batch_size == 1:
        del args["resources"]["max_batch_size"], args["resources"]["batch_wait_seconds"]
    return args


def application_config(desired: Desired) -> dict[str, Any]:
    """Return the configuration.

    Only the number of replicas may change later: any other change restarts them all.
    """
    spec = desired.spec
    return {
        "name": spec.name,
        "route_prefix": f"/{spec.name}",
        "import_path": "serving.replica:build",
        "args": _args(spec),
        # Each inference has its record already; Serve's own line for it would cost an eighth of the throughput, and
        # half of that even with its access log off.
        "logging_config": {"log_level": "WARNING"},
        "deployments": [
            {
                "name": "Replica",
                **_replicas(desired),
                "max_ongoing_requests": spec.resources.max_ongoing_requests,
                "health_check_period_s": 1,
                "health_check_timeout_s": 10,
                "graceful_shutdown_timeout_s": 10,
                "ray_actor_options": {
                    "num_cpus": spec.resources.cpus,
                    "num_gpus": spec.resources.gpus,
                    **_runtime_env(spec.requirements),
                },
            }
        ],
    }


def _runtime_env(requirements: Sequence[str]) -> dict[str, Any]:
    """Return exact versions that validation has seen together, so pip needn't resolve dependencies."""
    options = ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    pip = {"packages": list(requirements), "pip_check": False, "pip_install_options": options}
    return {"runtime_env": {"pip": pip}} if requirements else {}


def _replicas(desired: Desired) -> dict[str, Any]:
    """Return a fixed number or bounds.

    A change from one to the other would restart all replicas, so an application never makes it.
    """
    most = desired.spec.resources.max_replicas
    if most is None:
        return {"num_replicas": desired.replicas}
    return {"autoscaling_config": {"min_replicas": desired.replicas, "max_replicas": max(most, desired.replicas)}}


def read_applications(details: dict[str, Any]) -> dict[str, ApplicationState]:
    """Return every application of Serve's answer, with the addresses of the replicas that can be sent requests."""
    listen = (details.get("http_options") or {}).get("host")
    targets: dict[str, list[str]] = {}
    for group in details.get("target_groups") or []:
        for target in group.get("targets") or []:
            # An application without running replicas lists the fallback proxy here, which must get nothing.
            if not str(target.get("name", "")).startswith("SERVE_REPLICA::"):
                continue
            # Serve may list the node's own address while its replicas listen on loopback only.
            host = "127.0.0.1" if listen in {"127.0.0.1", "localhost"} else target["ip"]
            targets.setdefault(group["route_prefix"].lstrip("/"), []).append(f"{host}:{target['port']}")
    return {
        name: ApplicationState(
            name=name,
            health=_HEALTH.get(application["status"], ApplicationHealth.STARTING),
            message=_reason(application),
            targets=tuple(sorted(targets.get(name, ()))),
            wanted=_wanted(application),
            told=_told(application),
            is_building=application["status"] == "DEPLOYING" and not application.get("deployments"),
        )
        for name, application in (details.get("applications") or {}).items()
    }


def _wanted(application: dict[str, Any]) -> int | None:
    deployments = (application.get("deployments") or {}).values()
    return next((each["target_num_replicas"] for each in deployments if "target_num_replicas" in each), None)


def _told(application: dict[str, Any]) -> int | None:
    deployments = (application.get("deployed_app_config") or {}).get("deployments") or ()
    for each in deployments:
        number = (each.get("autoscaling_config") or {}).get("min_replicas", each.get("num_replicas"))
        return number if isinstance(number, int) else None
    return None


def _reason(application: dict[str, Any]) -> str:
    """Return why it isn't running, in Serve's words: the application's message, or its deployments'."""
    said = [application.get("message") or ""]
    said += [deployment.get("message") or "" for deployment in (application.get("deployments") or {}).values()]
    reason = "; ".join(dict.fromkeys(text for text in said if text))
    # A traceback ends with the exception: what is too long loses its beginning.
    return reason if len(reason) <= MOST_REASON else "…" + reason[1 - MOST_REASON :]
