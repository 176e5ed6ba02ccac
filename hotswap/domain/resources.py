"""GPUs and CPUs: what a Ray cluster has, and whether a set of replicas finds room on it. Pure.

A sum is not enough. A replica of 0.6 GPUs leaves 0.4 of its GPU that no second one can use, and one of two GPUs needs
them on one node. So replicas are laid out as Ray does it, the largest first, on nodes with single GPUs. Where they
already run is not asked: what fits in no order is refused, and what Ray itself then can't place is told by Ray when the
deadline comes. Amounts are counted in ten-thousandths, as Ray counts them, so that ten times 0.1 is 1.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WHOLE = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Amount:
    """Ten-thousandths of GPUs and CPUs; ordered by GPUs, then by CPUs."""

    gpus: int = 0
    cpus: int = 0

    @classmethod
    def of(cls, *, gpus: float = 0.0, cpus: float = 0.0) -> "Amount":
        return cls(round(gpus * WHOLE), round(cpus * WHOLE))

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.gpus + other.gpus, self.cpus + other.cpus)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.gpus - other.gpus, self.cpus - other.cpus)

    def __mul__(self, times: int) -> "Amount":
        return Amount(self.gpus * times, self.cpus * times)

    def is_within(self, other: "Amount") -> bool:
        return self.gpus <= other.gpus and self.cpus <= other.cpus


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is alive, with what others than HotSwap hold of it."""

    total: Amount
    held_by_others: Amount = NOTHING


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: tuple[Node, ...] = ()

    @property
    def total(self) -> Amount:
        return sum((node.total for node in self.nodes), NOTHING)

    @property
    def held_by_others(self) -> Amount:
        return sum((node.held_by_others for node in self.nodes), NOTHING)

    def has_room_for(self, replicas: Mapping[Amount, int]) -> bool:
        """Whether so many replicas of each size can be laid out on the nodes, all at one time."""
        return self.laid_out(replicas) == Counter(replicas)

    def laid_out(self, replicas: Mapping[Amount, int]) -> Counter[Amount]:
        """Those of these replicas that find room: fewer than all where some wait in Ray for ever."""
        spaces = [_Space(node) for node in self.nodes]
        placed: Counter[Amount] = Counter()
        for size in sorted(replicas, reverse=True):
            for _ in range(replicas[size]):
                if not any(space.takes(size) for space in sorted(spaces, key=_tightest_first)):
                    break
                placed[size] += 1
        return placed


def in_words(amount: Amount) -> str:
    """`2 GPUs and 0.5 CPUs`, without what there is none of."""
    said = ((amount.gpus, "GPU"), (amount.cpus, "CPU"))
    units = [f"{number / WHOLE:g} {unit}{'' if number == WHOLE else 's'}" for number, unit in said if number]
    return " and ".join(units) or "nothing"


def counted(sizes: Iterable[tuple[Amount, int]]) -> Counter[Amount]:
    """Replicas by their size."""
    found: Counter[Amount] = Counter()
    for size, number in sizes:
        found[size] += number
    return found


class _Space:
    """What is left of a node while replicas are laid out: CPUs, and each single GPU."""

    def __init__(self, node: Node) -> None:
        self.cpus = node.total.cpus - node.held_by_others.cpus
        self.gpus = [WHOLE] * (node.total.gpus // WHOLE)
        if rest := node.total.gpus % WHOLE:
            self.gpus.append(rest)
        self._hold(node.held_by_others.gpus)

    def takes(self, size: Amount) -> bool:
        """Take this replica in, if there is room: whole GPUs for itself, or a part of the fullest that has it."""
        if size.cpus > self.cpus:
            return False
        if size.gpus >= WHOLE:
            wanted = size.gpus // WHOLE
            if self.gpus.count(WHOLE) < wanted:
                return False
            for _ in range(wanted):
                self.gpus.remove(WHOLE)
        elif size.gpus:
            fitting = [left for left in self.gpus if left >= size.gpus]
            if not fitting:
                return False
            self.gpus.remove(min(fitting))
            self.gpus.append(min(fitting) - size.gpus)
        self.cpus -= size.cpus
        return True

    def _hold(self, gpus: int) -> None:
        """On which of its GPUs others are isn't known: as few of them as can be."""
        while gpus > 0 and self.gpus:
            largest = max(self.gpus)
            self.gpus.remove(largest)
            if largest > gpus:
                self.gpus.append(largest - gpus)
            gpus -= largest


def _tightest_first(space: _Space) -> tuple[int, int]:
    """So that what is whole stays whole: the node with the fewest GPUs left, and of those with the fewest CPUs."""
    return sum(space.gpus), space.cpus
