"""The cost of a power cut: every process of the stack killed with -9, then from `hotswap up` to the first answer."""

import os
import signal
import threading
import time
from contextlib import suppress

import httpx

from benchmarks.figure import Figure
from benchmarks.world import World
from tests.chaos.looking import everything
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import hotswap


def measure(world: World) -> list[Figure]:
    for pid in everything(world.stack):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_answered(world), what="silence")
    begun = time.monotonic()
    start = threading.Thread(target=hotswap, args=("up", "--detach", "--data-dir", str(world.stack.data)))
    start.start()
    wait_until(lambda: is_answered(world), seconds=120, what="an answer")
    took = time.monotonic() - begun
    start.join()
    return [
        Figure(
            name="all parts killed, from `hotswap up` to the first answer",
            measured=took,
            bar=20,
            unit="s",
            beside="one kill -9 of every process",
        )
    ]


def is_answered(world: World) -> bool:
    with suppress(httpx.HTTPError):
        answer = world.stack.http.post(world.path, json={"features": world.trained.requests[0]})
        return answer.status_code == httpx.codes.OK
    return False
