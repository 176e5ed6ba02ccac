"""A closed-loop HTTP/1.1 client on one epoll, in a process of its own: each connection asks again once answered.

Two machines' worth of load from one small one: a request costs about 15 microseconds, a tenth of what an asyncio client
takes, so the client is not what is measured. Any answer but 200 ends the run. It reads a `Target` as JSON from its
standard input: `python -m benchmarks.load`.
"""

import json
import select
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

HOST = "127.0.0.1"
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place to send `bodies` to, in turn."""

    port: int
    path: str
    bodies: list[str]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    per_second: float
    p50_ms: float


def load(target: Target, *, connections: int, seconds: float) -> Seen:
    """Return what a client process measures that loads the target for that long, after a warm-up."""
    asked = json.dumps({"target": asdict(target), "connections": connections, "seconds": seconds})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"], input=asked, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the client failed: {done.stderr.strip().splitlines()[-1]}")
    return Seen(**json.loads(done.stdout))


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at = 0.0
        self._answer = b""

    def ask(self, request: bytes) -> None:
        self.asked_at = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Take in what has come; whether it makes a whole answer."""
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError("the server closed the connection")
        self._answer += received
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"not 200: {self._answer[:500]!r}")
        _, sized, length = head.lower().partition(b"content-length: ")
        if len(body) < int(length.partition(b"\r\n")[0]) if sized else not body.endswith(b"0\r\n\r\n"):
            return False
        self._answer = b""
        return True


def ask_all(target: Target, *, connections: int, seconds: float) -> Seen:
    requests = [_request(target, body.encode()) for body in target.bodies]
    poll = select.epoll()
    clients = {}
    for _ in range(connections):
        client = _Connection(target.port)
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    latencies: list[float] = []
    count = 0
    for client in clients.values():
        client.ask(requests[count % len(requests)])
        count += 1
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + seconds
    now = 0.0
    while now < end:
        for number, _ in poll.poll():
            client = clients[number]
            if client.is_answered():
                now = time.perf_counter()
                if now >= begin:
                    latencies.append(now - client.asked_at)
                client.ask(requests[count % len(requests)])
                count += 1
    return Seen(per_second=len(latencies) / seconds, p50_ms=statistics.median(latencies) * 1000)


def _request(target: Target, body: bytes) -> bytes:
    headers = {"Host": f"{HOST}:{target.port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [
        f"POST {target.path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (headers | target.headers).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    asked = json.load(sys.stdin)
    seen = ask_all(Target(**asked["target"]), connections=asked["connections"], seconds=asked["seconds"])
    sys.stdout.write(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
