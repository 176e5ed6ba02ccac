"""`python -m benchmarks [--only PART]...`: measure, show, and exit 1 when a figure falls short of its bar."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console

from benchmarks import data_plane, envoy_alone, memory, metrics, restart, rollouts, starts
from benchmarks.figure import Figure, all_hold, line, table
from benchmarks.world import World, world

ALONE: dict[str, Callable[[], list[Figure]]] = {"up": starts.measure, "envoy": envoy_alone.measure}
ON_A_STACK: dict[str, Callable[[World], list[Figure]]] = {
    "memory": memory.measure,
    "gateway": data_plane.gateway,
    "serve": data_plane.whole_path,
    "abort": rollouts.abort,
    "events": rollouts.events,
    "worker": rollouts.killed_worker,
    "killed": restart.measure,
    "metrics": metrics.measure,
}

console = Console(stderr=True, highlight=False)


def run(only: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    wanted = [name for name in (*ALONE, *ON_A_STACK) if not only or name in only]
    for name in wanted:
        if name in ALONE:
            figures += _measured(name, ALONE[name])
    if any(name in ON_A_STACK for name in wanted):
        _say("starting a stack with one model of two versions")
        with world() as found:
            for name in wanted:
                if name in ON_A_STACK:
                    figures += _measured(name, partial(ON_A_STACK[name], found))
    return figures


def _measured(name: str, part: Callable[[], list[Figure]]) -> list[Figure]:
    _say(f"measuring {name}")
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - the other figures are worth having, and this run has failed
        console.print_exception()
        return [Figure(name=name, measured=None, bar=0, unit="", beside=f"could not be measured: {error}")]


def _say(text: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=[*ALONE, *ON_A_STACK])
    figures = run(parser.parse_args().only)
    console.print(table(figures))
    sys.stdout.write(line(figures) + "\n")
    return 0 if all_hold(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
