"""The memory of the whole stack with one model of two versions warm: proportional set size, each page counted once."""

import contextlib

import psutil

from benchmarks.figure import Figure
from benchmarks.world import World


def measure(world: World) -> list[Figure]:
    guardian = psutil.Process(world.stack.pid("supervisor")).parent()
    assert guardian is not None
    total = 0
    processes = [guardian, *guardian.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return [
        Figure(
            name="memory of the stack",
            measured=total / 1024**3,
            bar=2,
            unit="GiB",
            beside=f"proportional set size of {len(processes)} processes, one model of two versions",
        )
    ]
