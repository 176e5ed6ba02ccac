"""Strategies are data: each is a list of steps made by a pure function, never a workflow of its own."""

from dataclasses import dataclass

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import FULL


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The observed excess beyond which evidence of harm rolls back."""

    error_rate_increase: float = 0.01
    """Absolute: 0.01 is one more error in a hundred requests."""
    latency_increase: float = 1.5
    """Ratio of the candidate's median to the stable's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One weight (hundredths of a percent), and for how long it is watched before the next.

    A bake that lacks data is extended up to `deadline_seconds` after its begin. A step that isn't judged ends as soon
    as its weight is verified.
    """

    weight: int
    bake_seconds: float
    deadline_seconds: float
    judged: bool = True


def canary_steps(
    *, canary_percentage: float, increment_step: float, bake_seconds: float, deadline_seconds: float
) -> tuple[Step, ...]:
    """The first weight, then ever `increment_step` percent more, and last a bake at 100%.

    Raises ValidationFailed naming the field.
    """
    first, increment = round(canary_percentage * 100), round(increment_step * 100)
    if not 1 <= first <= FULL:
        raise ValidationFailed.of("canaryPercentage", f"{canary_percentage} is not within 0.01 to 100")
    if not 1 <= increment <= FULL:
        raise ValidationFailed.of("incrementStep", f"{increment_step} is not within 0.01 to 100")
    weights = [*range(first, FULL, increment), FULL]
    if len(weights) > MOST_STEPS:
        raise ValidationFailed.of("incrementStep", f"{len(weights)} steps are more than {MOST_STEPS}; take larger ones")
    return tuple(Step(weight, bake_seconds, deadline_seconds) for weight in weights)


MOST_STEPS = 1_000
"""Keeps a deployment's history well below Temporal's limit of 51,200 events."""


def immediate_steps() -> tuple[Step, ...]:
    """All traffic at once, unjudged: a model's first deployment, and a rollback to a version that is known."""
    return (Step(FULL, bake_seconds=0, deadline_seconds=0, judged=False),)
