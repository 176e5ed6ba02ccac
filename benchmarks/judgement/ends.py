"""How rollouts end."""

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    """For harm that was found."""
    UNPROVEN = "gone back unproven"
    """Since no pass was found until a deadline."""
    HELD = "held"
    """For a person, and no word came."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: `seconds` after its first weight; of the `requests` until then so many were worse off.

    What is held ends here, as nobody speaks.
    """

    end: End
    message: str
    seconds: float
    hurt: int
    requests: int
