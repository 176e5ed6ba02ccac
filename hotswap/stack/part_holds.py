"""Parts that a person keeps down: a request in a file, which the supervisor carries out.

It is for maintenance, and to rehearse a failure: a part that is merely killed is started again at once. Invariant: a
hold ends with its stack; the next `up` starts everything.
"""

import json
import time
from collections.abc import Collection
from enum import StrEnum

from hotswap.bootstrap.layout import Layout, StackError
from hotswap.stack import lifecycle
from hotswap.storage.files import write_json

TIMEOUT_S = 90.0
POLL_S = 0.1


class PartHold(StrEnum):
    """The way in which a held part is brought down."""

    STOP = "stop"
    KILL = "kill"


class PartState(StrEnum):
    """The state of a part by the supervisor, in `run/stack.json`."""

    STARTING = "starting"
    READY = "ready"
    HELD = "held"


def wished(layout: Layout) -> dict[str, PartHold]:
    """Return the parts that are to stay down."""
    try:
        return {name: PartHold(how) for name, how in json.loads(layout.holds.read_text()).items()}
    except (OSError, ValueError, AttributeError):  # what can't be read is no wish
        return {}


def hold(layout: Layout, names: Collection[str], how: PartHold) -> None:
    """Bring parts down, and return when they are; they stay down until `release` or the next start of the stack.

    Raises:
        StackError: there is no such stack or part, or it doesn't go down.
    """
    _require(layout, names)
    write_json(layout.holds, wished(layout) | dict.fromkeys(names, how))
    _wait(layout, names, PartState.HELD, lifecycle.STOP_TIMEOUT_S)


def release(layout: Layout, names: Collection[str]) -> None:
    """Let parts run again, and return when they are ready.

    Raises:
        StackError: there is no such stack or part, or it doesn't get ready.
    """
    _require(layout, names)
    write_json(layout.holds, {name: how for name, how in wished(layout).items() if name not in names})
    _wait(layout, names, PartState.READY, TIMEOUT_S)


def held(state: lifecycle.State) -> list[str]:
    return [name for name, found in state.parts.items() if found == PartState.HELD]


def _require(layout: Layout, names: Collection[str]) -> None:
    state = lifecycle.read_state(layout)
    if state is None or not state.ready or not lifecycle.is_running(layout):
        raise StackError(f"no stack is ready on {layout.data}; `hotswap up` starts one")
    if unknown := sorted(set(names) - state.parts.keys()):
        raise StackError(f"the stack has no part {', '.join(unknown)}; its parts: {', '.join(state.parts)}")


def _wait(layout: Layout, names: Collection[str], wanted: PartState, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while late := _not_yet(layout, names, wanted):
        if time.monotonic() > deadline:
            raise StackError(f"not {wanted} after {seconds:g} s: {', '.join(late)}; logs: {layout.logs}")
        time.sleep(POLL_S)


def _not_yet(layout: Layout, names: Collection[str], wanted: PartState) -> list[str]:
    state = lifecycle.read_state(layout)
    if state is None:
        raise StackError(f"the stack on {layout.data} has ended; its log: {layout.log('stack')}")
    return [name for name in names if state.parts.get(name) != wanted]
