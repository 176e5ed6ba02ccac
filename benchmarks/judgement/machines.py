"""Effects of machines and networks on versions: load, outages, crashes, caches. Each function makes an effect."""

from collections.abc import Callable

import numpy as np

from benchmarks.judgement.requests import FAILED, Answers, Begins, Bools, Effect, Requests

When = Callable[[Requests], bool]
Arms = Callable[[Requests], tuple[Answers, ...]]

SLOW = 1.5
"""A client who waits so many times as long is hurt."""


def of_candidate(requests: Requests) -> tuple[Answers, ...]:
    return (requests.candidate,)


def of_stable(requests: Requests) -> tuple[Answers, ...]:
    return (requests.stable,)


def of_both(requests: Requests) -> tuple[Answers, ...]:
    return requests.candidate, requests.stable


def always(_: Requests) -> bool:
    return True


def at_full(requests: Requests) -> bool:
    return requests.weight >= 1


def first(seconds: float) -> When:
    """Return a condition for the first seconds of the rollout."""
    return lambda requests: 0 <= requests.at < seconds


def after(seconds: float) -> When:
    return lambda requests: requests.at >= seconds


def while_rolled_out(requests: Requests) -> bool:
    """Return whether the rollout has begun, so that records from before are left alone."""
    return requests.at >= 0


def every(seconds: float, *, lasting: float) -> When:
    """Return a condition for the first seconds of each period, once the rollout has begun."""
    return lambda requests: requests.at >= 0 and requests.at % seconds < lasting


def slow(arms: Arms, times: float, *, when: When = always, share: float = 1.0) -> Begins:
    """Let answers take so many times as long: all of them, or a share by chance."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            if when(requests):
                for answers in arms(requests):
                    hit = draw.random(len(requests)) < share
                    answers.ms[hit] *= times
                    answers.hurts |= hit & (times > SLOW and arms is of_candidate)

        return effect

    return begin


def slows_down(arms: Arms, *, a_minute: float) -> Begins:
    """Let answers take longer and longer: by this part more with each minute."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            times = 1 + a_minute * max(requests.at, 0) / 60
            for answers in arms(requests):
                answers.ms *= times
                answers.hurts |= times > SLOW and arms is of_candidate

        return effect

    return begin


def slow_under_load(*, times: float) -> Begins:
    """Let the candidate take longer the more requests it gets: so many times as long at 100%."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            longer = 1 + (times - 1) * requests.weight
            requests.candidate.ms *= longer
            requests.candidate.hurts |= longer > SLOW

        return effect

    return begin


def heavy_tails() -> Begins:
    """Draw latencies from a Pareto distribution without variance, under a wandering load that both arms feel."""

    def begin(draw: np.random.Generator) -> Effect:
        load = 0.0

        def effect(requests: Requests) -> None:
            nonlocal load
            load = 0.95 * load + 0.31 * float(draw.standard_normal())
            for answers in of_both(requests):
                answers.ms[:] = 5 * np.exp(0.8 * load) * (1 + draw.pareto(1.8, len(requests)))

        return effect

    return begin


def flaky(arms: Arms, share: float, *, when: When = always, recorded: bool = True) -> Begins:
    """Let a share fail by chance: asked again, the same request may be answered."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            if when(requests):
                for answers in arms(requests):
                    answers.flaky[:] = 1 - (1 - answers.flaky) * (1 - share)
                    answers.recorded &= recorded

        return effect

    return begin


def down(arms: Arms, *, when: When = always, recorded: bool = True) -> Begins:
    """Let everything fail."""
    return flaky(arms, 1.0, when=when, recorded=recorded)


def hangs(share: float, *, seconds: float) -> Begins:
    """Let the candidate answer nothing to a share, until the gateway gives these up after so many seconds."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            hit = draw.random(len(requests)) < share
            requests.candidate.status[hit] = FAILED
            requests.candidate.ms[hit] = 1000 * seconds
            requests.candidate.recorded[hit] = False

        return effect

    return begin


def poison(share: float, *, caller: int | None = None) -> Begins:
    """Send requests that no version can answer: a share of all, or of one caller's."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            hit: Bools = requests.kind < share
            if caller is not None:
                hit &= requests.caller == caller
            for answers in of_both(requests):
                answers.status[hit] = FAILED

        return effect

    return begin
