"""Callers, and when they send requests: each generator says for every second which callers send one."""

import math
from collections.abc import Callable

import numpy as np

from benchmarks.judgement.requests import NOBODY, Floats, Ints

RATE = 30.0
"""Requests a second of both arms together."""


Traffic = Callable[[float], Ints]
"""The callers of the second that begins then, one for each request."""

Comes = Callable[[np.random.Generator], Traffic]


def anonymous(rate: float = RATE) -> Comes:
    """Send each request for nobody in particular, at a steady rate."""
    return _at(lambda _: rate)


def bursts(rate: float = RATE, *, every: float = 15, lasting: float = 3) -> Comes:
    """Send all requests of `every` seconds within `lasting` of them."""
    return _at(lambda at: rate * every / lasting if at % every < lasting else 0.0)


def diurnal(rate: float = RATE, *, period: float = 240) -> Comes:
    """Let the rate rise and fall as on a day, within minutes."""
    return _at(lambda at: rate * (1 + 0.8 * math.sin(2 * math.pi * at / period)))


def pausing(rate: float = RATE, *, every: float = 50, pause: float = 20) -> Comes:
    """Send nothing for a while, again and again."""
    return _at(lambda at: rate if at % every >= pause else 0.0)


def nobody_comes() -> Comes:
    return _at(lambda _: 0.0)


def before_only(rate: float = RATE) -> Comes:
    """Stop all traffic as the rollout begins."""
    return _at(lambda at: rate if at < 0 else 0.0)


def sticky(callers: int, rate: float = RATE, *, exponent: float = 0.0) -> Comes:
    """Send for callers that keep their arm, all alike or (Zipf) the first ones far louder than the others."""
    shares = np.arange(1, callers + 1, dtype=np.float64) ** -exponent
    return _named(shares / shares.sum(), rate)


def one_loud(callers: int, rate: float = RATE, *, share: float) -> Comes:
    """Send for sticky callers, of which the first has this share of all requests."""
    return _named(np.array([share, *[(1 - share) / (callers - 1)] * (callers - 1)]), rate)


def beside_nobody(named: Comes) -> Comes:
    """Send as many requests for nobody in particular beside those."""

    def begin(draw: np.random.Generator) -> Traffic:
        those, others = named(draw), anonymous()(draw)
        return lambda at: np.concatenate([those(at), others(at)])

    return begin


def _at(rate: Callable[[float], float]) -> Comes:
    def begin(draw: np.random.Generator) -> Traffic:
        return lambda at: np.full(draw.poisson(rate(at)), NOBODY)

    return begin


def _named(shares: Floats, rate: float) -> Comes:
    def begin(draw: np.random.Generator) -> Traffic:
        return lambda _: draw.choice(len(shares), draw.poisson(rate), p=shares) + 1

    return begin
