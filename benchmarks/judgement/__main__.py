"""`python -m benchmarks.judgement [--seed N] [--runs N] [--only WORD…]`: how rollouts end in every situation.

Each situation is drawn so many times and goes through the product's whole judging. A candidate that is as good as the
stable may end wrongly in 1% of them, one that is not may be promoted in 1%. Exits 1 where one doesn't keep that.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import betaincinv

from benchmarks.judgement.ends import End, Ended
from benchmarks.judgement.situation import Situation
from benchmarks.judgement.situations import SITUATIONS

RUNS = 100
MOST = 0.01
"""The share of wrong ends that may be."""
CONFIDENCE = 0.95

console = Console(stderr=True, highlight=False, width=180)


@dataclass(frozen=True, slots=True)
class Account:
    """The ends of all runs of a situation."""

    situation: Situation
    ended: tuple[Ended, ...]

    @property
    def wrong(self) -> list[int]:
        """The numbers of the runs that ended as they must not."""
        return [number for number, each in enumerate(self.ended) if each.end not in self.situation.right]

    @property
    def holds(self) -> bool:
        return len(self.wrong) <= MOST * len(self.ended)

    @property
    def at_most(self) -> float:
        """The share of wrong ends at most, by the exact binomial bound."""
        wrong, runs = len(self.wrong), len(self.ended)
        return float(betaincinv(wrong + 1, runs - wrong, CONFIDENCE)) if wrong < runs else 1.0

    @property
    def hurt(self) -> float:
        """Requests that were worse off for the candidate: the median."""
        return float(np.median([each.hurt for each in self.ended]))

    @property
    def seconds(self) -> float:
        """The median of the seconds from the first weight to the end; 0 if a backtest ends it before any weight."""
        return float(np.median([each.seconds for each in self.ended]))

    @property
    def ends(self) -> str:
        counted = Counter(each.end for each in self.ended)
        return ", ".join(f"{counted[end]} {end}" for end in End if counted[end])


def run(situation: Situation, number: int, seed: int) -> Ended:
    """Run the situation once, drawn by numbers of its own: the same whatever else is run."""
    return situation.run(np.random.default_rng([seed, crc32(situation.name.encode()), number]))


def accounts(situations: Sequence[Situation], *, runs: int, seed: int, processes: int) -> Iterator[Account]:
    """Yield the account of each situation, in order."""
    if processes == 1:
        for situation in situations:
            yield Account(situation, tuple(run(situation, number, seed) for number in range(runs)))
        return
    with ProcessPoolExecutor(processes) as pool:
        for situation in situations:
            names = [situation.name] * runs
            ended = pool.map(_run_named, names, range(runs), [seed] * runs, chunksize=max(1, runs // (4 * processes)))
            yield Account(situation, tuple(ended))


def _run_named(name: str, number: int, seed: int) -> Ended:
    """Run a situation by its name, since it holds functions, which no process can send to another."""
    return run(next(each for each in SITUATIONS if each.name == name), number, seed)


def table(found: Sequence[Account]) -> Table:
    shown = Table("situation", "ends", "wrong", "at most (95%)", "bar", "hurt", "seconds", "")
    for each in found:
        shown.add_row(
            ("null: " if each.situation.is_null else "fault: ") + each.situation.name,
            each.ends,
            f"{len(each.wrong)} of {len(each.ended)}",
            f"{each.at_most:.1%}",
            f"{MOST:.0%}",
            f"{each.hurt:.0f}",
            f"{each.seconds:.0f}",
            "[green]pass[/green]" if each.holds else "[red]FAIL[/red]",
        )
    return shown


def line(found: Sequence[Account], *, seed: int) -> str:
    """Return the account as one line of JSON, with a run of each wrong end to look at."""
    said = [
        {
            "name": each.situation.name,
            "null": each.situation.is_null,
            "holds": each.holds,
            "runs": len(each.ended),
            "wrong": len(each.wrong),
            "at_most": each.at_most,
            "ends": Counter(str(ended.end) for ended in each.ended),
            "hurt": each.hurt,
            "seconds": each.seconds,
            "case": each.situation.case,
            "live": each.situation.live,
            "such_as": {number: each.ended[number].message for number in each.wrong[:3]},
        }
        for each in found
    ]
    return json.dumps({"holds": bool(found) and all(each.holds for each in found), "seed": seed, "situations": said})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judgement", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="draw the same runs again")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each situation")
    parser.add_argument("--only", default="", help="situations whose name has this in it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    seed = secrets.randbits(32) if given.seed is None else given.seed
    chosen = [each for each in SITUATIONS if given.only in each.name]
    console.print(f"seed {seed}, {len(chosen)} situations, {given.runs} runs each")
    found = []
    for each in accounts(chosen, runs=given.runs, seed=seed, processes=given.processes):
        found.append(each)
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {each.situation.name}: {each.ends}")
        for number in each.wrong[:2]:
            console.print(f"  run {number}: {each.ended[number].end}: {each.ended[number].message}", markup=False)
    console.print(table(found))
    sys.stdout.write(line(found, seed=seed) + "\n")
    return 0 if found and all(each.holds for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
