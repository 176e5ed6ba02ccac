"""Requests of a second, and each version's answers to them, whichever version is asked in the end.

Both versions' answers to every request are there, so that a request may be asked of one, of the other in its place, or
of both by a backtest, and says the same each time. Only what fails by chance is drawn anew each time it is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOBODY = 0
"""The caller of a request without `x-entity-id`; callers that keep their arm are numbered from 1 on."""

ANSWERED, REFUSED, FAILED = 200, 400, 500

LABELS = ("approve", "review", "decline", "refer")
SHARES = (0.5, 0.3, 0.15, 0.05)
MEDIAN_MS = 10.0
ACCURACY = 0.9


@dataclass(slots=True)
class Answers:
    """One version's, an entry a request. Effects change these arrays in place.

    `flaky` is the probability that it fails by chance. `label` is a place in `LABELS`, or beyond it for others. `ms` is
    the time in the replica. What dies with its replica is not `recorded`. `rows` is how many answers it gives to the
    one instance. `hurts` says whether the client is worse off who gets this answer.
    """

    status: Ints
    flaky: Floats
    ms: Floats
    label: Ints
    confidence: Floats
    right: Bools
    recorded: Bools
    rows: Ints
    hurts: Bools

    def at(self, places: Ints | Bools) -> "Answers":
        return Answers(*(getattr(self, each.name)[places] for each in fields(self)))

    def statuses(self, draw: np.random.Generator) -> Ints:
        """Return the statuses of the answers if the requests are sent now."""
        return np.where(draw.random(len(self.flaky)) < self.flaky, FAILED, self.status)


@dataclass(slots=True)
class Requests:
    """Requests of one second that begins `at` seconds after the first weight; below 0 they are from before.

    `kind` is between 0 and 1 and stands for the content of a request: by it a version may fail the same ones always.
    `weight` is the candidate's share of the traffic.
    """

    at: float
    weight: float
    caller: Ints
    kind: Floats
    candidate: Answers
    stable: Answers

    def __len__(self) -> int:
        return len(self.caller)

    def at_places(self, places: Ints | Bools) -> "Requests":
        return Requests(
            self.at,
            self.weight,
            self.caller[places],
            self.kind[places],
            self.candidate.at(places),
            self.stable.at(places),
        )


Effect = Callable[[Requests], None]
"""Changes what is answered to these requests."""

Begins = Callable[[np.random.Generator], Effect]
"""An effect's beginning: it draws what holds for a whole rollout, such as which callers are concerned."""


def fine(draw: np.random.Generator, callers: Ints, *, at: float, weight: float) -> Requests:
    """Return requests that both versions answer alike, and in the same time."""
    number = len(callers)
    label = draw.choice(len(LABELS), number, p=SHARES)
    confidence = draw.beta(8, 2, number)
    right = draw.random(number) < ACCURACY

    def answers() -> Answers:
        return Answers(
            status=np.full(number, ANSWERED),
            flaky=np.zeros(number),
            ms=MEDIAN_MS * np.exp(0.3 * draw.standard_normal(number)),
            label=label.copy(),
            confidence=confidence.copy(),
            right=right.copy(),
            recorded=np.ones(number, dtype=np.bool_),
            rows=np.ones(number, dtype=np.int64),
            hurts=np.zeros(number, dtype=np.bool_),
        )

    return Requests(at, weight, callers, draw.random(number), answers(), answers())
