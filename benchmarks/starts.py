"""The time until `hotswap up` has all ready: on no data, and on the data of a stack that was stopped."""

from benchmarks.figure import Figure
from benchmarks.world import scratch, seconds_to_start
from tests.fixtures.ports import free_base
from tests.fixtures.stack import hotswap


def measure() -> list[Figure]:
    with scratch() as place:
        data, base = place / "data", free_base()
        try:
            first = seconds_to_start(data, base)
            hotswap("down", "--data-dir", str(data))
            second = seconds_to_start(data, base)
        finally:
            hotswap("down", "--data-dir", str(data), expect=None)
    return [
        Figure(name="`hotswap up`, first", measured=first, bar=15, unit="s", beside="an empty data directory"),
        Figure(name="`hotswap up`, second", measured=second, bar=12, unit="s", beside="the same directory again"),
    ]
