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
        """Return whether so many replicas of each size fit on the nodes at one time."""
        asked = sum((size * number for size, number in replicas.items()), self.held_by_others)
        return asked.is_within(self.total) and self.laid_out(replicas) == Counter(replicas)

    def laid_out(self, replicas: Mapping[Amount, int]) -> Counter[Amount]:
        """Return those of these replicas that find room: fewer than all where some would wait in Ray for ever."""
        spaces = [_Space(node) for node in self.nodes]
        placed: Counter[Amount] = Counter()
        for size in sorted(replicas, reverse=True):
            for _ in range(replicas[size]):
                having = [space for space in spaces if space.has_room_for(size)]
                if not having:
                    break
                # So that what is whole stays whole: where the fewest GPUs are left, and of those the fewest CPUs.
                min(having, key=lambda space: (sum(space.gpus), space.cpus)).take(size)
                placed[size] += 1
        return placed


def in_words(amount: Amount) -> str:
    """Return the amount as `2 GPUs and 0.5 CPUs`, without a unit that is 0."""
    said = ((amount.gpus, "GPU"), (amount.cpus, "CPU"))
    units = [f"{number / WHOLE:g} {unit}{'' if number == WHOLE else 's'}" for number, unit in said if number]
    return " and ".join(units) or "nothing"


def counted(sizes: Iterable[tuple[Amount, int]]) -> Counter[Amount]:
    """Count replicas by their size."""
    found: Counter[Amount] = Counter()
    for size, number in sizes:
        found[size] += number
    return found


class _Space:
    """The CPUs and single GPUs that are left on a node while replicas are laid out."""

    def __init__(self, node: Node) -> None:
        self.cpus = node.total.cpus - node.held_by_others.cpus
        self.gpus = [WHOLE] * (node.total.gpus // WHOLE)
        if rest := node.total.gpus % WHOLE:
            self.gpus.append(rest)
        self._hold(node.held_by_others.gpus)

    def has_room_for(self, size: Amount) -> bool:
        """Return whether a replica fits: with whole GPUs of its own, or on a part of one."""
        if size.cpus > self.cpus:
            return False
        if size.gpus >= WHOLE:
            return self.gpus.count(WHOLE) >= size.gpus // WHOLE
        return size.gpus == 0 or max(self.gpus, default=0) >= size.gpus

    def take(self, size: Amount) -> None:
        """Take the room of a replica; a part of a GPU comes from the fullest GPU that has it."""
        self.cpus -= size.cpus
        if size.gpus >= WHOLE:
            for _ in range(size.gpus // WHOLE):
                self.gpus.remove(WHOLE)
        elif size.gpus:
            fullest = min(left for left in self.gpus if left >= size.gpus)
            self.gpus.remove(fullest)
            self.gpus.append(fullest - size.gpus)

    def _hold(self, gpus: int) -> None:
        """Take what others hold. Since it is unknown which GPUs they use, assume as few of them as possible."""
        while gpus > 0 and self.gpus:
            largest = max(self.gpus)
            self.gpus.remove(largest)
            if largest > gpus:
                self.gpus.append(largest - gpus)
            gpus -= largest
