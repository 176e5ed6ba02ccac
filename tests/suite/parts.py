"""The parts of the suite: what each runs, what may run beside it, and what it may cost."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.documents import ROOT

BIN = Path(sys.executable).parent

SPREAD = ("--dist", "loadfile", "--no-loadscope-reorder")
"""A file's tests stay together, since they share servers."""


@dataclass(frozen=True)
class Part:
    """A command under a name, or else the tests and options that pytest gets."""

    name: str
    command: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    processes: int = 0
    """Of pytest beside each other, by xdist; 0 is one, without it."""
    niceness: int = 0
    """How far it stands back behind what runs beside it."""

    def run(self) -> tuple[str, ...]:
        """Return the command that runs all of it."""
        if self.command:
            return self.command
        spread = ("-n", str(self.processes), *SPREAD) if self.processes else ()
        pytest = (sys.executable, "-m", "pytest", "-q", "-p", "tests.suite.plugin", *self.options, *spread)
        return ("nice", "-n", str(self.niceness), *pytest, *self.tests)


LINT = Part("lint", ("sh", "-c", f"{BIN}/ruff check . && {BIN}/ruff format --check ."))
# One cache for all checkouts of a machine: without it mypy reads every library anew. Two runs at once would spoil it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotswap"
MYPY = f"mkdir -p {CACHE} && flock {CACHE}/mypy.lock {BIN}/mypy --cache-dir={CACHE}/mypy"
# The tests' own types are checked by make test: on a machine without a cache they are a fifth of the whole.
PRODUCT = " ".join(f"-p {room}" for room in ("hotswap", "workflows", "activities", "api", "serving", "benchmarks"))
TYPES = Part("types", ("sh", "-c", f"{MYPY} {PRODUCT}"))
TEST_TYPES = Part("test-types", ("sh", "-c", f"{MYPY} -p tests"))
CONTRACTS = Part("contracts", (str(BIN / "lint-imports"),))
# Two of pytest beside each other, each with the files of half of the rooms, since what a room imports takes as long as
# its tests; by xdist a third process would import everything to lead them.
UNIT_FILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "unit").rglob("test_*.py"))
MIDDLE = "tests/unit/domain"
"""From this room on the second process has them: there the two take equally long."""
UNSERVED = ("--confcutdir=tests/unit", "-p", "tests.fixtures.timeouts")
"""Without the fixtures of servers, which import all clients of them."""
QUICK = tuple(
    Part(
        f"quick-{half + 1}",
        tests=tuple(files),
        options=(*UNSERVED, "--hypothesis-profile", "quick", "-m", "not slow"),
        niceness=10,  # mypy without a cache takes longest
    )
    for half, files in enumerate(
        ([file for file in UNIT_FILES if file < MIDDLE], [file for file in UNIT_FILES if file >= MIDDLE])
    )
)

NOT_SOAK = ("-m", "not soak")
FRAMEWORKS = Part("frameworks", tests=("tests/frameworks",), options=NOT_SOAK)
UNIT = Part("unit", tests=("tests/unit",), options=NOT_SOAK)
# Workflows first: they wait for Temporal while other parts, beside them, take the processor.
LIGHT = Part("light", tests=("tests/workflows", "tests/integration", "tests/replay"), options=NOT_SOAK, processes=2)
STACK = Part("stack", tests=("tests/stack", "tests/contracts"), options=NOT_SOAK, processes=2)
E2E = Part(
    "e2e",
    tests=(
        "tests/e2e/test_main_job.py",
        "tests/e2e/test_documents.py",
        "tests/e2e/test_metrics_from_elsewhere.py",
        "tests/e2e",
    ),
    options=NOT_SOAK,
    processes=3,
)


@dataclass(frozen=True)
class Tier:
    """What one make target runs: groups of parts one after the other, the parts of a group at the same time.

    Those that fail most often come first.
    """

    groups: tuple[tuple[Part, ...], ...]
    bar: float
    """Processor seconds that it should not exceed."""


TIERS = {
    "check": Tier(((TYPES, *QUICK, LINT, CONTRACTS),), bar=60),
    "quick": Tier((QUICK,), bar=0),
    "test": Tier(((E2E,), (STACK,), (LIGHT, UNIT, FRAMEWORKS, TEST_TYPES)), bar=1_500),
}
PARTS = {part.name: part for tier in TIERS.values() for group in tier.groups for part in group}
