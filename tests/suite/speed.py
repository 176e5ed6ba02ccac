"""How slow this machine is now, so that a time-out ends a hang and never a slow test.

The same loop runs on every core at once, so that a quota, or load beside the tests, counts as slowness too.
"""

import os
import subprocess
import sys
import time

SLOWNESS = "HOTSWAP_TEST_SLOWNESS"
"""The environment variable by which a run hands its measured factor to each of its processes."""

REFERENCE_SECONDS = 0.4
"""What the loop takes on the machine for which the tests' time-outs were written: two idle cores of some 3 GHz."""

_LOOP = "total = 0\nfor number in range(4_000_000): total += number * number"


def measure() -> float:
    """Measure the factor by which this machine is slower than the reference; 1 at the least. Takes under 2 s."""
    begun = time.monotonic()
    loops = [subprocess.Popen([sys.executable, "-S", "-E", "-c", _LOOP]) for _ in range(os.cpu_count() or 1)]
    for loop in loops:
        loop.wait()
    return max(1.0, (time.monotonic() - begun) / REFERENCE_SECONDS)


def slowness() -> float:
    """Return the factor of this run; a pytest that was started by hand measures it once."""
    if SLOWNESS not in os.environ:
        os.environ[SLOWNESS] = f"{measure():.2f}"
    return float(os.environ[SLOWNESS])
