"""Run a tier of the suite, or single parts of it.

    python -m tests.suite check      lint, types, import contracts, quick tests
    python -m tests.suite test       the whole suite
    python -m tests.suite light e2e  these parts, one after the other

What fails is run once more by itself at the end. What passes then is named as flaky and must be mended; what fails
twice is red. Exit codes: 0 if nothing failed twice, 1 if something did or a command broke, 2 for a wrong call, 130 if
interrupted.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures.documents import ROOT
from tests.suite import processes, report, speed
from tests.suite.parts import PARTS, TIERS, Part, Tier
from tests.suite.plugin import REPORT
from tests.suite.report import Ran

LIMIT_SECONDS = 1_800.0
"""After which a part of the suite is taken to hang, on a machine of the reference's speed."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=[*TIERS, *PARTS], metavar="TIER|PART", help="what to run")
    what: list[str] = parser.parse_args().what
    if len(what) == 1 and what[0] in TIERS:
        name, tier = what[0], TIERS[what[0]]
    else:
        name = "+".join(what)
        tier = Tier(tuple((PARTS[part],) for part in what if part in PARTS), bar=0)
    return run(name, tier)


def run(name: str, tier: Tier) -> int:
    """Run a tier, say what it cost and how it ended, and return the exit code."""
    begun = time.monotonic()
    ran: list[Ran] = []
    with tempfile.TemporaryDirectory(prefix="hotswap-suite-") as place:
        for group in tier.groups:
            ran += _run_group(group, Path(place))
        first = list(ran)
        for each in first:
            if each.can_run_again:
                ran += _run_again(each, Path(place))
    return report.conclude(name, tier, first, ran[len(first) :], wall=time.monotonic() - begun)


def _run_again(first: Ran, place: Path) -> list[Ran]:
    print(f"\nonce more, by themselves: what failed in {first.part.name}", flush=True)
    again = Part(f"{first.part.name}, again", tests=tuple(first.failures), options=first.part.options)
    return _run_group((again,), place)


def _run_group(group: tuple[Part, ...], place: Path) -> list[Ran]:
    factor = speed.measure()
    print(f"this machine takes {factor:.1f} times as long as the reference; time-outs are scaled by it", flush=True)
    files = {part.name: place / f"{part.name}.json" for part in group}
    ended = processes.run(
        {part.name: ("env", f"{REPORT}={files[part.name]}", *part.run()) for part in group},
        environment={speed.SLOWNESS: f"{factor:.2f}"},
        limit=LIMIT_SECONDS * factor,
    )
    return [report.read(part, ended[part.name], files[part.name], slowness=factor) for part in group]


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes import the same
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: all that was started has ended")
        sys.exit(130)
