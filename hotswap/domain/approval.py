"""Four eyes: in some environments nobody approves their own deployment, and an approver's name must be proven.

Pure. A name is proven if it came through the API, whose token named it; in a Temporal signal or update it is only
claimed. Where four eyes are not asked for, a claimed name counts, and is recorded as claimed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FourEyes:
    """The rule of a deployment's environment when it was accepted."""

    count_claimed: bool = False


def objection(rule: FourEyes | None, *, by: str, asked_for_by: str, is_claimed: bool) -> str | None:
    """Return why this approval doesn't count, or None if it does."""
    if rule is None:
        return None
    if is_claimed and not rule.count_claimed:
        return "here an approval needs a checked name: give it by `hotswap approve` or the API, not through Temporal"
    if by == asked_for_by:
        return f"{by} asked for it, so somebody else has to approve it"
    return None
