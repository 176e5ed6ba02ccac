"""A promotion policy: where, and for how long, a version must be Active before it may go to an environment.

Pure: the registry gives the activations and the time. *Active for an hour* means now and without a break: a version
that was replaced or rolled back where it had to prove itself has proven nothing, however long it served before. Whether
a rule applies at all (a rollback needs none) is decided where deployments are accepted and begun.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hotswap.domain.times import written
from hotswap.domain.vocabulary import Environment


@dataclass(frozen=True, slots=True)
class PromotionRule:
    """A version must be Active in `active_in` for `at_least`, without a break, when a deployment of it begins."""

    active_in: Environment
    at_least: timedelta


@dataclass(frozen=True, slots=True)
class Activation:
    """One stretch of time in which a version was active in an environment; `until` is None while it lasts."""

    version: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ActivePeriod:
    """The version that is active in an environment at a time, and since when without a break; None if there is none."""

    version: str | None
    since: datetime | None
    at: datetime


def active_period(activations: Iterable[Activation], *, at: datetime) -> ActivePeriod:
    """Return the present active period, from a model's activations in one environment, the newest first.

    A new deployment of the version that is already active follows without a break, so it doesn't start the time anew.
    """
    version: str | None = None
    since: datetime | None = None
    for activation in activations:
        follows = activation.until is None if since is None else activation.until == since
        if not follows or (version is not None and activation.version != version):
            break
        version, since = activation.version, activation.since
    return ActivePeriod(version, since, at)


def unmet(rule: PromotionRule, seen: ActivePeriod, *, model: str, version: str, to: Environment) -> str | None:
    """Return why `version` may not go `to` an environment, or None if it may; `seen` is of the rule's environment."""
    needs = f"{to} takes a version of {model} that is Active in {rule.active_in}"
    if rule.at_least:
        needs += f" for {rule.at_least} without a break"
    if seen.version is None or seen.since is None:
        return f"{needs}; no version is active there, so deploy {version} to {rule.active_in} first"
    if seen.version != version:
        return (
            f"{needs}; {seen.version} is active there since {written(seen.since)}, not {version}, "
            f"so deploy {version} to {rule.active_in} first"
        )
    if seen.at - seen.since < rule.at_least:
        return (
            f"{needs}; {version} is active there since {written(seen.since)}, so ask again at "
            f"{written(seen.since + rule.at_least)}"
        )
    return None
