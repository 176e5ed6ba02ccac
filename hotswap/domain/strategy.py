"""Strategies are data: each is a list of steps made by a pure function, never a workflow of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import TOTAL_WEIGHT


class OnLimit(StrEnum):
    """The action after a pause that nobody ended in time."""

    ABORT = "abort"
    PROCEED = "proceed"


@dataclass(frozen=True, slots=True)
class StepPause:
    """A wait for a person, with a limit in seconds; without a limit it waits for as long as it takes."""

    limit_seconds: float | None = None
    on_limit: OnLimit = OnLimit.ABORT


class OnNoVerdict(StrEnum):
    """The action after a bake that has neither a pass nor harm at its deadline."""

    ROLLBACK = "rollback"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Rules:
    """A strategy's defaults for steps that don't say otherwise, one for the whole rollout."""

    pause: StepPause = field(default_factory=StepPause)
    """The limit of a pause that a person asked for, and of a hold."""
    on_no_verdict: OnNoVerdict = OnNoVerdict.ROLLBACK


@dataclass(frozen=True, slots=True)
class Step:
    """One weight (hundredths of a percent), for how long it is watched, and whether a person lets it go on.

    A bake that lacks data is extended up to `deadline_seconds` after its begin. A step that isn't judged ends as soon
    as its bake is over. A `pause` comes after the bake, and an approval of this step ends it. `candidate_replicas` None
    leaves their number to the capacity plan. A step that `is_first` is of a model's first version: nothing else could
    serve, so only harm ends it, and what lacks a verdict goes on.
    """

    weight: int
    bake_seconds: float
    deadline_seconds: float
    judged: bool = True
    pause: StepPause | None = None
    candidate_replicas: int | None = None
    is_first: bool = False


def canary_steps(
    *, canary_percentage: float, increment_step: float, bake_seconds: float, deadline_seconds: float
) -> tuple[Step, ...]:
    """Return steps from the first weight on, each `increment_step` percent more, and last a bake at 100%.

    Raises ValidationFailed with the name of the field.
    """
    first, increment = round(canary_percentage * 100), round(increment_step * 100)
    if not 1 <= first <= TOTAL_WEIGHT:
        raise ValidationFailed.of("canaryPercentage", f"{canary_percentage} is not within 0.01 to 100")
    if not 1 <= increment <= TOTAL_WEIGHT:
        raise ValidationFailed.of("incrementStep", f"{increment_step} is not within 0.01 to 100")
    weights = [*range(first, TOTAL_WEIGHT, increment), TOTAL_WEIGHT]
    if len(weights) > MOST_STEPS:
        raise ValidationFailed.of(
            "incrementStep", f"{len(weights)} steps are more than {MOST_STEPS}; give a larger incrementStep"
        )
    return tuple(Step(weight, bake_seconds, deadline_seconds) for weight in weights)


def up_to_full(steps: Iterable[Step], *, bake_seconds: float, deadline_seconds: float) -> tuple[Step, ...]:
    """Return these steps and, if they end below 100%, a last bake there: no version is retired before that.

    Raises ValidationFailed with the name of the field.
    """
    listed = tuple(steps)
    if not listed:
        raise ValidationFailed.of("steps", "is empty; name at least one, such as {'weight': 10}")
    if listed[-1].weight != TOTAL_WEIGHT:
        listed = (*listed, Step(TOTAL_WEIGHT, bake_seconds, deadline_seconds))
    if len(listed) > MOST_STEPS:
        raise ValidationFailed.of("steps", f"{len(listed)} are more than {MOST_STEPS}; take fewer and larger ones")
    return listed


MOST_STEPS = 1_000
"""Keeps a deployment's history well below Temporal's limit of 51,200 events."""


def immediate_steps() -> tuple[Step, ...]:
    """Return one step of all traffic, unjudged: for a rollback, an emergency, or an unwatched first version."""
    return (Step(TOTAL_WEIGHT, bake_seconds=0, deadline_seconds=0, judged=False),)


def first_steps(*, watch_seconds: float) -> tuple[Step, ...]:
    """Return one step of all traffic, judged by absolute limits: a first version has nothing to compare with."""
    if watch_seconds <= 0:
        return immediate_steps()
    return (Step(TOTAL_WEIGHT, watch_seconds, watch_seconds, is_first=True),)
