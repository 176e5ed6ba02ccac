"""The real servers under the real supervisor: ready in time, repaired, stopped without a trace, found again.

`CONTROL` parts are left out: what is tested is the stack, not what runs on it. Ray, which takes as long to start as all
others together, is in the tests that are about it; that it too is found again is in test_one_stack.py.
"""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from minio import Minio
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from hotswap.bootstrap.layout import Layout
from hotswap.process.sessions import session_members
from hotswap.stack import control_environment, processes
from hotswap.stack.ports import at_base
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.ports import free_base
from tests.fixtures.stack import BUSY

pytestmark = pytest.mark.slow

LIGHT = "postgres,valkey,s3,temporal"
STACK = (sys.executable, "-P", "-m", "hotswap.cli")


class Stack:
    """One data directory, driven by the commands as a person types them."""

    def __init__(self, data: Path) -> None:
        self.layout = Layout(data)
        self.base = free_base()
        self.sessions: set[int] = set()

    def command(self, *words: str, parts: str = LIGHT) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*STACK, *words, "--data-dir", str(self.layout.data)],
            capture_output=True,
            text=True,
            env={**os.environ, "HOTSWAP_STACK_PARTS": parts, **BUSY},
            timeout=patient(120),
        )
        self.sessions |= {entry.session for entry in processes.load(self.layout.processes)}
        return result

    def up(self, *words: str, parts: str = LIGHT) -> float:
        begun = time.monotonic()
        result = self.command("up", "--detach", "--port-base", str(self.base), *words, parts=parts)
        assert result.returncode == 0, result.stdout + result.stderr
        return time.monotonic() - begun

    def down(self) -> None:
        assert self.command("down").returncode == 0

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self.command("env", "--json").stdout)
        return described

    def pid(self, part: str) -> int:
        return next(entry.pid for entry in processes.load(self.layout.processes) if entry.name == part)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.layout.state.read_text())
        return state

    def traces(self) -> list[str]:
        """Living processes of any session of this stack, or with its directories in their command or as their own."""
        places = (str(self.layout.data), str(self.layout.ray_temp))
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                text = " ".join([*process.cmdline(), process.cwd()])
                if os.getsid(process.pid) in self.sessions or any(place in text for place in places):
                    found.append(f"{process.pid} {text[:200]}")
        return found


@contextlib.contextmanager
def made() -> Iterator[Stack]:
    """A stack that isn't up yet, of which nothing is left afterwards."""
    data = Path(tempfile.mkdtemp(prefix="hotswap-test-"))
    data.chmod(0o711)  # PostgreSQL's own user must pass
    subject = Stack(data)
    yield subject
    subject.down()
    assert subject.traces() == []
    assert not subject.layout.ray_temp.exists()
    shutil.rmtree(data)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with made() as subject:
        yield subject


@pytest.fixture(scope="module")
def with_ray() -> Iterator[Stack]:
    """For the tests about Ray, the last of which kills it for good."""
    with made() as subject:
        subject.up(parts="valkey,ray")
        yield subject


def until(condition: Callable[[], object], limit: float = 20.0) -> None:
    wait_until(condition, seconds=limit, every=0.05)


def answers(call: Callable[[], object]) -> bool:
    try:
        return bool(call())
    except (OSError, httpx.HTTPError, psycopg.Error):
        return False


def test_everything_is_up_in_time_and_found_again(stack: Stack) -> None:
    stack.up()
    _write_everywhere(stack)
    secrets = {file.name: file.read_text() for file in stack.layout.secrets.iterdir()}
    described = stack.describe()
    assert described["parts"].keys() == {"supervisor", *LIGHT.split(",")}
    text = json.dumps(described)
    assert not [name for name, secret in secrets.items() if secret and secret in text]
    arguments = "\n".join(" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    logs = "\n".join(file.read_text(errors="replace") for file in stack.layout.logs.glob("*.log"))
    assert not [name for name, secret in secrets.items() if secret in arguments or secret in logs]
    stack.down()
    assert stack.traces() == []
    stack.up()
    assert {file.name: file.read_text() for file in stack.layout.secrets.iterdir()} == secrets
    _read_everywhere(stack)


def _write_everywhere(stack: Stack) -> None:
    settings, ports, admin = control_environment(stack.layout.data), at_base(stack.base), _admin(stack)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('kept')")
    with Redis.from_url(settings["HOTSWAP_REDIS__URL"]) as client:
        client.set("kept", "kept")
    (stack.layout.data / "kept").write_text("kept")
    _s3(stack).fput_object("ml-models", "kept", str(stack.layout.data / "kept"))
    answer = httpx.post(
        f"http://127.0.0.1:{ports.temporal_http}/api/v1/namespaces/default/workflows/kept",
        json={"workflowType": {"name": "kept"}, "taskQueue": {"name": "kept"}},
        timeout=patient(30),
    )
    assert answer.status_code == 200, answer.text


def _read_everywhere(stack: Stack) -> None:
    settings, ports = control_environment(stack.layout.data), at_base(stack.base)
    with psycopg.connect(_admin(stack)) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("kept",)]
    with Redis.from_url(settings["HOTSWAP_REDIS__URL"]) as client:
        assert client.get("kept") == b"kept"
    assert _s3(stack).stat_object("ml-models", "kept").size == 4
    address = f"http://127.0.0.1:{ports.temporal_http}/api/v1/namespaces/default/workflows/kept"
    answer = httpx.get(address, timeout=patient(30))
    assert answer.json()["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_RUNNING"


def _admin(stack: Stack) -> str:
    password = (stack.layout.secrets / "postgres_admin_password").read_text()
    return f"postgresql://postgres:{password}@127.0.0.1:{at_base(stack.base).postgres}/postgres"


def _s3(stack: Stack) -> Minio:
    settings = control_environment(stack.layout.data)
    key, secret = settings["HOTSWAP_STORAGE__ACCESS_KEY"], settings["HOTSWAP_STORAGE__SECRET_KEY"]
    return Minio(settings["HOTSWAP_STORAGE__ENDPOINT"], key, secret, secure=False, region="us-east-1")


def test_a_killed_server_comes_back(stack: Stack) -> None:
    def is_another(part: str, old: int) -> bool:
        return stack.pid(part) != old

    def accepts_connections() -> bool:
        psycopg.connect(_admin(stack)).close()
        return True

    stack.up()
    for part in LIGHT.split(","):
        old = stack.pid(part)
        os.kill(old, signal.SIGKILL)
        until(partial(is_another, part, old))
        stack.sessions.add(stack.pid(part))
    until(lambda: answers(accepts_connections))


def test_what_redis_has_acknowledged_survives_its_death(stack: Stack) -> None:
    stack.up(parts="valkey")
    url = control_environment(stack.layout.data)["HOTSWAP_REDIS__URL"]
    with Redis.from_url(url) as client:
        for number in range(1_000):
            client.rpush("kept", number)
        old = stack.pid("valkey")
        os.kill(old, signal.SIGKILL)
        until(lambda: stack.pid("valkey") != old)
        stack.sessions.add(stack.pid("valkey"))
    with Redis.from_url(url, retry=Retry(ConstantBackoff(0.1), 50)) as client:
        assert client.llen("kept") == 1_000
        # What makes it so on a slow disk too: `everysec` answers before it writes while a sync is under way.
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


@pytest.mark.parametrize("victims", [("supervisor",), ("guardian",), ("guardian", "supervisor")])
def test_nothing_is_left_when_the_supervision_is_killed(stack: Stack, victims: tuple[str, ...]) -> None:
    stack.up()
    state = stack.state()
    for victim in victims:
        os.kill(state[victim], signal.SIGKILL)
    until(lambda: not stack.traces())
    assert "no stack runs" in stack.command("env", "--json").stderr


def test_ray_is_repaired_in_parts_and_as_a_whole(with_ray: Stack) -> None:
    token = (with_ray.layout.secrets / "ray_token").read_text()
    url = f"http://127.0.0.1:{at_base(with_ray.base).ray_dashboard}/api/serve/applications/"
    assert httpx.get(url, timeout=patient(30)).status_code == 401

    def serves() -> bool:
        return answers(lambda: httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200)

    def daemon(mark: str) -> int:
        for pid in session_members(with_ray.pid("ray")):
            with contextlib.suppress(psutil.Error):
                if any(mark in word for word in psutil.Process(pid).cmdline()[:3]):
                    return pid
        return 0

    def is_back(mark: str, old: int) -> bool:
        return daemon(mark) not in {0, old} and serves()

    head, raylet = with_ray.pid("ray"), daemon("/raylet/raylet")
    for mark in ("/gcs/gcs_server", "/dashboard/dashboard.py"):
        old = daemon(mark)
        os.kill(old, signal.SIGKILL)
        until(partial(is_back, mark, old))
    assert (with_ray.pid("ray"), daemon("/raylet/raylet")) == (head, raylet), "only the dead ones were started again"
    os.kill(raylet, signal.SIGKILL)
    until(lambda: with_ray.pid("ray") != head and serves(), 40)


def test_other_users_of_the_machine_cannot_enter_rays_sessions(with_ray: Stack) -> None:
    layout = with_ray.layout
    assert (layout.ray_sessions / "session_latest" / "logs").is_dir()
    assert (layout.logs / "ray").resolve() == (layout.ray_sessions / "session_latest" / "logs").resolve()
    assert layout.ray_temp.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        look = subprocess.run(
            ["/bin/ls", layout.ray_sessions], user="nobody", capture_output=True, text=True, check=False
        )
        assert (look.returncode, look.stdout) == (2, ""), "closed on the way, whatever Ray has opened below"


def test_ray_loses_its_parents_and_is_swept(with_ray: Stack) -> None:
    head, state = with_ray.pid("ray"), with_ray.state()
    tree = session_members(head)
    assert len(tree) >= 6
    parents = (state["guardian"], state["supervisor"])
    for pid in parents:
        os.kill(pid, signal.SIGSTOP)  # else either of them sees the head's death, or the head theirs, and sweeps
    for pid in (head, *parents):
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert with_ray.traces(), "nobody is there to kill Ray's daemons: only the sweep can"
    assert with_ray.layout.ray_temp.exists()
    assert "left-over processes killed" in with_ray.command("down").stdout
    assert with_ray.traces() == []
    assert not with_ray.layout.ray_temp.exists()
    assert list(with_ray.layout.ray_last_logs.glob("raylet*"))


def test_a_stale_lock_file_does_not_stop_postgresql(stack: Stack) -> None:
    stack.up(parts="postgres")
    stack.down()
    # A crash left its lock file, and its number belongs to somebody else now.
    (stack.layout.postgres / "postmaster.pid").write_text(f"{os.getpid()}\n{stack.layout.postgres}\n1\n1\n\n\n\n")
    stack.up(parts="postgres")


def test_two_at_once(stack: Stack) -> None:
    stack.up(parts="valkey")
    again = stack.command("up", "--detach")
    assert (again.returncode, "already" in again.stderr) == (0, True)
    assert str(stack.base) in again.stdout
    in_front = stack.command("up")
    assert in_front.returncode == 1
    assert str(stack.state()["guardian"]) in in_front.stderr


def test_a_taken_port_stops_the_start_before_anything_runs(stack: Stack) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", at_base(stack.base).ray_dashboard))
        holder.listen()
        result = stack.command("up", "--detach", "--port-base", str(stack.base))
    assert result.returncode == 1
    assert f"process {os.getpid()}" in result.stdout
    assert "--port-base" in result.stdout
    assert not stack.layout.log("valkey").exists()
    assert stack.traces() == []


def test_control_c_on_a_terminal_stops_everything_in_order(stack: Stack) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["HOTSWAP_STACK_PARTS"] = LIGHT
        arguments = [*STACK, "up", "--data-dir", str(stack.layout.data), "--port-base", str(stack.base)]
        os.execv(sys.executable, arguments)  # noqa: S606
    shown = b""
    while b"hotswap env --shell" not in shown:
        shown += os.read(terminal, 1000)
    stack.sessions |= {entry.session for entry in processes.load(stack.layout.processes)}
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # the terminal is closed when its last process ends
        while more := os.read(terminal, 1000):
            shown += more
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    stopped = [line.split()[0] for line in shown.decode().splitlines() if " stopped" in line]
    assert stopped == ["temporal", "s3", "valkey", "postgres"]
    assert stack.traces() == []
