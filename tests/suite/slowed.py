"""Run a tier of the suite on a machine that is made slow, to prove that no test depends on its speed.

    python -m tests.suite.slowed --busy 2 test       beside two loops that take what they get
    python -m tests.suite.slowed --share 0.33 test   with a third of every processor (a cgroup's quota; needs root)

The exit code is that of the run.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fixtures.documents import ROOT

CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
FIRST = 10_000
"""The group's weight: a hundred times a process's, so that other load on the machine takes nothing of its share."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.suite.slowed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--busy", type=int, default=0, metavar="LOOPS", help="so many busy loops beside the run")
    parser.add_argument("--share", type=float, metavar="SHARE", help="so much of every processor for the run")
    parser.add_argument("what", nargs="+", metavar="TIER|PART", help="what to run, as for python -m tests.suite")
    given = parser.parse_args()
    with ExitStack() as slowed:
        slowed.enter_context(busy(given.busy))
        if given.share is not None:
            slowed.enter_context(limited(given.share))
        return subprocess.run([sys.executable, "-m", "tests.suite", *given.what], check=False).returncode


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many loops running, of the same priority as the tests."""
    running = [subprocess.Popen([sys.executable, "-S", "-E", "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in running:
            loop.kill()
            loop.wait()


@contextmanager
def limited(share: float) -> Iterator[None]:
    """Hold this process, and all that it starts, to a share of every processor.

    Raises:
        OSError: this machine lets us make no cgroup with a quota.
    """
    has_controllers_apart = (CGROUPS / "cpu").is_dir()  # cgroups v1
    parent = CGROUPS / "cpu" if has_controllers_apart else CGROUPS
    group = parent / f"hotswap-suite-{os.getpid()}"
    group.mkdir()
    quota = round(share * PERIOD_US * (os.cpu_count() or 1))
    try:
        if has_controllers_apart:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
            (group / "cpu.shares").write_text(str(FIRST))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (group / "cpu.weight").write_text(str(FIRST))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
