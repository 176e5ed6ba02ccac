"""The record of one deployment: who did what to it, and the results of its analyses."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hotswap.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """An audit event of the deployment."""

    at: datetime
    actor: str
    action: str
    reason: str | None
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis of one step (its position) with its newest verdict; `begun_at` is Unix time, `weight` hundredths."""

    step: int
    begun_at: float
    weight: int
    judged_at: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Approved:
    """`step` counts from 1, and 0 is the start; a claimed name is one that nobody checked."""

    step: int
    by: str
    is_claimed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """Each in the order in which it happened."""

    events: tuple[DeploymentEvent, ...]
    analyses: tuple[Analysis, ...]
    approvals: tuple[Approved, ...]
