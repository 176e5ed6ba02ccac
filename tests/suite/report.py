"""What a run cost and how it ended: the tables at its end, and a line for the file of figures by commit."""

import heapq
import json
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

from tests.suite.parts import Part, Tier
from tests.suite.processes import Ended

MOST_RUN_AGAIN = 40
"""More failures than this are no chance, and would take too long to try again."""

DEAREST = 20
TESTS_FAILED = 1
"""Pytest's exit code for this; with any other but 0 it broke, or found nothing to run."""


@dataclass
class Ran:
    """One part as it ran; costs are processor seconds, user and system."""

    part: Part
    ended: Ended
    slowness: float
    files: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def is_green(self) -> bool:
        return self.ended.code == 0

    @property
    def can_run_again(self) -> bool:
        """Whether single tests failed, rather than the command, or everything."""
        return self.ended.code == TESTS_FAILED and 0 < len(self.failures) <= MOST_RUN_AGAIN


def read(part: Part, ended: Ended, file: Path, *, slowness: float) -> Ran:
    """Join how a part's command ended with what its plugin reported, where it came to that."""
    ran = Ran(part, ended, slowness)
    if file.exists():
        content = json.loads(file.read_text())
        ran.files, ran.outcomes = content["files"], Counter(content["outcomes"])
        ran.failures = content["failures"]
    ran.files = summed([ran.files, ended.servers])
    return ran


def summed(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add up costs by name."""
    total: dict[str, float] = defaultdict(float)
    for name, cost in (item for table in tables for item in table.items()):
        total[name] += cost
    return total


def conclude(name: str, tier: Tier, first: list[Ran], again: list[Ran], *, wall: float) -> int:
    """Print costs, what was flaky and what is red; keep the figures; return the exit code."""
    total = sum(each.ended.cost for each in (*first, *again))
    _print_costs(first, again, total, tier.bar)
    failed_twice = {test for each in again for test in each.failures}
    unsure = [each for each in again if not each.is_green and not each.failures]  # it broke, and tells nothing
    flaky = {
        test: text
        for each in first
        if each.can_run_again and not unsure
        for test, text in each.failures.items()
        if test not in failed_twice
    }
    broken = [each for each in (*first, *again) if not each.is_green and not each.failures]
    too_many = {test for each in first if not each.can_run_again for test in each.failures}
    red = sorted(failed_twice | too_many)
    _keep(name, first, again, total=total, wall=wall, flaky=sorted(flaky), red=red)

    for each in (*first, *again):
        for what in each.ended.killed:
            print(f"had to be killed, {each.part.name}: {what}")
    for test, text in flaky.items():
        print(f"\nthe first failure of {test}:\n{text}\n")
    for each in broken:
        print(f"red: {each.part.name} (exit code {each.ended.code})")
    for test in red:
        print(f"red: {test}")
    for test in flaky:
        print(f"flaky: {test}")
    outcomes = sum((each.outcomes for each in (*first, *again)), Counter())
    if outcomes:
        print(f"{outcomes['passed']} passed, {len(red)} failed, {outcomes['skipped']} skipped")
    return 1 if red or broken else 0


def _print_costs(first: list[Ran], again: list[Ran], total: float, bar: float) -> None:
    print("\nprocessor seconds (user and system, children and servers included)")
    for each in (*first, *again):
        ended = each.ended
        print(f"{ended.cost:8.1f}  {each.part.name} ({ended.wall:.0f} s, machine {each.slowness:.1f} times as slow)")
    files = summed([each.files for each in first])
    if files:
        print(f"the {DEAREST} dearest files")
    for file, cost in heapq.nlargest(DEAREST, files.items(), key=itemgetter(1)):
        print(f"{cost:8.1f}  {file}")
    against = f" of at most {bar:,.0f}" if bar else ""
    print(f"{total:8.1f}  in sum{against}{' (over its bar)' if bar and total > bar else ''}\n")


def _keep(
    name: str, first: list[Ran], again: list[Ran], *, total: float, wall: float, flaky: list[str], red: list[str]
) -> None:
    """Append a line to the file of figures of this machine, which all checkouts share."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "run": name,
        "cpu_seconds": round(total, 1),
        "wall_seconds": round(wall),
        "slowness": [round(each.slowness, 2) for each in first],
        "parts": {each.part.name: round(each.ended.cost, 1) for each in (*first, *again)},
        "files": {file: round(cost, 1) for file, cost in summed([each.files for each in first]).items() if cost >= 0.5},
        "flaky": flaky,
        "red": red,
    }
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hotswap" / "suite.jsonl"
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.open("a") as figures:
        figures.write(json.dumps(line) + "\n")
    print(f"kept in {state}")


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"
