"""Ports on which the parts listen, and a check that they are free.

Every port of the stack is named here, so that two stacks on one machine never meet and `--port-base N` moves all of
them: N + the offset in the table below, 900 ports in all. A taken port stops the start before anything runs. The
failure this prevents: a probe answered by somebody else's server, or Ray waiting forever for a port it can't have.
"""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass, fields

import psutil

from hotswap.bootstrap.layout import StackError

HOST = "127.0.0.1"
SPAN = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPorts:
    """One number per listener: the usual port by default, and in this order the offsets from `--port-base`."""

    public: int = 5000  # +0   Envoy: applications and people
    api: int = 5080  # +1
    postgres: int = 5432  # +2
    valkey: int = 6379  # +3
    s3: int = 9000  # +4
    temporal: int = 7233  # +5
    temporal_ui: int = 8233  # +6
    temporal_http: int = 7243  # +7
    temporal_metrics: int = 7244  # +8
    envoy_admin: int = 9901  # +9
    ray_dashboard: int = 8265  # +10  also Serve's REST
    ray_gcs: int = 6389  # +11  not Ray's 6379, which is Redis' here
    ray_node_manager: int = 6390  # +12
    ray_object_manager: int = 6391  # +13
    ray_agent_grpc: int = 6392  # +14
    ray_runtime_env_agent: int = 6393  # +15
    ray_metrics: int = 6394  # +16
    ray_agent_http: int = 6395  # +17
    ray_client: int = 6396  # +18  named, and then not started
    ray_dashboard_metrics: int = 6397  # +19
    serve_proxy: int = 8000  # +20  Serve's own proxy, which nothing of ours calls
    public_tls: int = 5001  # +21  Envoy's too, where it has a certificate
    # Ranges, from which Ray takes what is free: first ports.
    serve_http: int = 30000  # +100  direct ingress: what Envoy calls
    serve_grpc: int = 31000  # +300
    ray_workers: int = 11000  # +400


RANGES = {"serve_http": (100, 200), "serve_grpc": (300, 100), "ray_workers": (400, 500)}
"""Offset and length of each range."""

UNCHECKED = frozenset(RANGES) | {"ray_client"}


def part_of(port_name: str) -> str:
    """Return the part that listens on a port, by the name of its log."""
    owner = port_name.split("_", maxsplit=1)[0]
    return {"public": "envoy", "serve": "ray"}.get(owner, owner)


def at_base(base: int | None) -> StackPorts:
    """Return the default ports, or all of them from `base` on.

    Raises StackError if the base leaves no room.
    """
    if base is None:
        return StackPorts()
    if not 1024 <= base <= 65535 - SPAN:
        raise StackError(f"--port-base {base}: must be between 1024 and {65535 - SPAN}")
    names = [field.name for field in fields(StackPorts)]
    return StackPorts(**{name: base + RANGES.get(name, (offset, 1))[0] for offset, name in enumerate(names)})


def last_of(ports: StackPorts, name: str) -> int:
    """Return the last port of a range."""
    return int(getattr(ports, name)) + RANGES[name][1] - 1


def listeners(ports: StackPorts, *, tls: bool) -> Iterator[tuple[str, int]]:
    """Return the single ports that must be free."""
    unchecked = UNCHECKED if tls else UNCHECKED | {"public_tls"}
    for field in fields(StackPorts):
        if field.name not in unchecked:
            yield field.name, getattr(ports, field.name)


def require_free(ports: StackPorts, *, tls: bool = False) -> None:
    """Stop here if any port is taken, saying by whom; with `tls` there is one more.

    Raises:
        StackError: names each taken port, its part, its holder where visible, and `--port-base`.
    """
    taken = [(name, port) for name, port in listeners(ports, tls=tls) if _is_taken(port)]
    if not taken:
        return
    held = [f"port {port} ({part_of(name)}: {name}) is taken by {_holder(port)}" for name, port in taken]
    raise StackError("\n".join([*held, "nothing was started; `--port-base N` moves all ports of the stack"]))


def _is_taken(port: int) -> bool:
    """Bind as the servers do (SO_REUSEADDR: a connection in TIME_WAIT doesn't count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)  # two sockets may be bound with SO_REUSEADDR, but only one may listen
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return True
            raise
    return False


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "a process that this user can't see"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                break
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "?"
            return f"process {connection.pid} ({command[:120]})"
    return "a process that this user can't see"
