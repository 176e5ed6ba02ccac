"""Situations, and one run of a situation."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.judgement.callers import Comes, anonymous
from benchmarks.judgement.clock import Clock
from benchmarks.judgement.ends import End, Ended
from benchmarks.judgement.requests import Begins
from benchmarks.judgement.rollout import rolled_out, tried_on_records
from benchmarks.judgement.world import Disturbs, World
from hotswap.domain.policy import Requests
from hotswap.schemas.strategy import CanaryConfig

CONFIG: dict[str, Any] = {"canaryPercentage": 10, "incrementStep": 40, "monitoringDuration": "PT1M"}
"""10, 50, 90 and 100%, a minute each: all else is what a deployment has that says nothing."""

SECONDS_ON_RECORD = 120
"""Seconds of requests before the rollout."""

PROMOTED = frozenset({End.PROMOTED})
NOT_PROMOTED = frozenset({End.ROLLED_BACK, End.UNPROVEN, End.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One that rollouts may be in, by name. `right` are the ends that are right in it.

    `comes` is who asks, `effects` what the versions make of it. Without `records` nothing can be asked by a backtest.
    `fallback` is false of a model that must not be asked twice. A client whose request fails asks again as often as
    `retries` says. Outcomes are told `labels_after` seconds; None: never. `case` is where it was seen, `live` the test
    that shows it on real servers.
    """

    name: str
    right: frozenset[End]
    comes: Comes = field(default_factory=anonymous)
    effects: tuple[Begins, ...] = ()
    records: bool = True
    fallback: bool = True
    retries: int = 0
    labels_after: float | None = None
    disturbs: Callable[[], Disturbs] | None = None
    proxies: int = 1
    words: tuple[tuple[float, Requests], ...] = ()
    case: str = ""
    live: str = ""

    @property
    def is_null(self) -> bool:
        """Return whether the candidate may go on, or a person may be asked about it, and no rollback is right."""
        return End.ROLLED_BACK not in self.right

    def run(self, draw: np.random.Generator, config: Mapping[str, Any] = CONFIG) -> Ended:
        """Draw it once."""
        clock, canary = Clock(), CanaryConfig.model_validate(config)
        world = World(
            draw,
            self.comes,
            self.effects,
            clock=clock,
            fallback=self.fallback,
            retries=self.retries,
            labels_after=self.labels_after,
            disturbs=self.disturbs() if self.disturbs is not None else None,
            proxies=self.proxies,
            seconds_on_record=SECONDS_ON_RECORD if self.records else 0,
        )
        with closing(clock.loop):
            if self.records and (ended := tried_on_records(world, clock, draw, canary)) is not None:
                return ended
            return clock.loop.run_until_complete(rolled_out(world, clock, draw, canary, words=self.words))


def null(name: str, *, right: frozenset[End] = PROMOTED, **given: Any) -> Situation:
    """Return a situation in which the candidate is as good as the stable, or better."""
    return Situation(name=name, right=right, **given)


def fault(name: str, *, right: frozenset[End] = NOT_PROMOTED, **given: Any) -> Situation:
    """Return a situation in which the candidate must not be promoted."""
    return Situation(name=name, right=right, **given)


def fault_and_double(name: str, **given: Any) -> tuple[Situation, Situation]:
    """Return a fault that a backtest is to find, and its double without records."""
    return fault(name, **given), fault(f"{name}, without records", records=False, **given)
