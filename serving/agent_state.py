"""The files of a traffic agent: what it starts with if no server answers, and who it is.

The state is what the agent knows. The incarnation tells two proxies of one name apart. It is made once in the agent's
directory, so a restarted agent is the same proxy, and an agent with another directory is another one. The file's time
is that of the last report which was taken, so whoever starts Envoy knows for how long this proxy has been silent.
"""

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from hotswap.domain.proxies import LEASE_SECONDS
from hotswap.domain.traffic import TrafficPlan, Withdrawal
from hotswap.storage.files import write_atomically

STATE = "known.json"
INCARNATION = "incarnation"
LOCK = "agent.lock"

logger = logging.getLogger(__name__)


class AgentState(msgspec.Struct):
    """The state with which the agent starts if no server answers.

    `applied` is what Envoy has taken of the plan, and `withdrawals` are the candidates that people took out here.
    """

    plan: TrafficPlan = TrafficPlan()
    applied: TrafficPlan = TrafficPlan()
    targets: dict[str, tuple[str, ...]] = {}
    withdrawals: tuple[Withdrawal, ...] = ()


class StateFile:
    def __init__(self, directory: Path) -> None:
        self._path = directory / STATE
        self._kept = b""

    def read(self) -> AgentState | None:
        """Return the state, None where there is none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=AgentState)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def keep(self, state: AgentState) -> None:
        """Write the state down, where that is something new."""
        kept = msgspec.json.encode(state)
        if kept != self._kept:
            write_atomically(self._path, kept)
            self._kept = kept


class ProxyIdentity:
    """Who the proxy of this directory is."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / INCARNATION
        try:
            self.incarnation = uuid.UUID(self._path.read_text().strip()).hex
        except (FileNotFoundError, ValueError):
            self.incarnation = uuid.uuid4().hex
            write_atomically(self._path, self.incarnation)
            os.utime(self._path, (0, 0))

    def renewed(self) -> None:
        """Note that a report has just been taken."""
        os.utime(self._path)


@contextmanager
def only_agent_of(directory: Path) -> Iterator[None]:
    """Hold the directory, which has one agent; another one waits here until this one is gone."""
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another agent works in %s; this one waits until that one has ended", directory)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_lost(directory: Path) -> bool:
    """Return whether this proxy has been silent for longer than its lease, by this machine's clock."""
    try:
        return abs(time.time() - (directory / INCARNATION).stat().st_mtime) > LEASE_SECONDS
    except FileNotFoundError:
        return True
