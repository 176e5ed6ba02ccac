"""Ends of rollouts."""

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    """Rolled back for harm that was found."""
    UNPROVEN = "gone back unproven"
    """Rolled back since no pass was found until a deadline."""
    HELD = "held"
    """Held for a person, and no command came."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a rollout, `seconds` after its first weight; `hurt` of its `requests` until then were worse off.

    A hold is an end here, as nobody gives a command.
    """

    end: End
    message: str
    seconds: float
    hurt: int
    requests: int
