"""Disturbances of the proxies' reports on their way to the reader. Each function makes a disturbance."""

from dataclasses import replace

from benchmarks.judgement.world import Disturbs
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import ProxyReport


def says_old_figures(*, begin: float, lasting: float) -> Disturbs:
    """Send an old report of one proxy for a while, with the present time: its sums shrink and come back."""
    old: dict[str, ProxyReport] = {}

    def disturbs(at: float, reports: list[ProxyReport]) -> list[ProxyReport]:
        if at < begin - 10:
            old[reports[0].proxy] = reports[0]
        if begin <= at < begin + lasting and old:
            return [replace(old[reports[0].proxy], reported_at=reports[0].reported_at), *reports[1:]]
        return reports

    return disturbs


def leaves(*, begin: float) -> Disturbs:
    """Remove one of two proxies for good."""
    return lambda at, reports: reports[:1] if at >= begin else reports


def is_stale(*, begin: float, lasting: float) -> Disturbs:
    """Let one proxy's agent report nothing for a while."""
    last: dict[str, ProxyReport] = {}

    def disturbs(at: float, reports: list[ProxyReport]) -> list[ProxyReport]:
        proxy = reports[0].proxy
        if begin <= at < begin + lasting:
            return [last.setdefault(proxy, reports[0]), *reports[1:]]
        return reports

    return disturbs


def is_away(*, begin: float, lasting: float) -> Disturbs:
    """Let no report be read for a while."""

    def disturbs(at: float, reports: list[ProxyReport]) -> list[ProxyReport]:
        if begin <= at < begin + lasting:
            raise Unavailable("Redis doesn't answer")
        return reports

    return disturbs
