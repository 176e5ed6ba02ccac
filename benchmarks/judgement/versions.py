"""Effects of a version on its answers: refusals, other answers, none at all. Each function makes an effect.

Unlike effects of machines, most of these depend on the request or on its caller: what a version refuses once it
refuses always.
"""

import numpy as np

from benchmarks.judgement.requests import (
    ACCURACY,
    ANSWERED,
    FAILED,
    LABELS,
    REFUSED,
    Begins,
    Effect,
    Requests,
)

MOST_CALLERS = 512


def refuses(share: float, *, both: bool = False) -> Begins:
    """Let a share of requests be invalid to the candidate, or to both versions: then it is the client's mistake."""
    return _by_kind(share, status=REFUSED, both=both)


def fails_some(share: float) -> Begins:
    """Let the candidate fail a share of requests, the same ones always."""
    return _by_kind(share, status=FAILED, both=False)


def fails_callers(share: float, *, recorded: bool = True) -> Begins:
    """Let the candidate fail all requests of a share of the callers."""

    def begin(draw: np.random.Generator) -> Effect:
        concerned = draw.random(MOST_CALLERS) < share
        concerned[0] = False

        def effect(requests: Requests) -> None:
            hit = concerned[requests.caller]
            requests.candidate.status[hit] = FAILED
            requests.candidate.recorded &= ~hit | recorded

        return effect

    return begin


def fails_caller(caller: int) -> Begins:
    """Let the candidate fail all requests of one caller."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            requests.candidate.status[requests.caller == caller] = FAILED

        return effect

    return begin


def callers_differ(*, slowest: float = 3.0, hardest: float = 0.3) -> Begins:
    """Let some callers ask for much, and some for what is hard to predict, with either version."""

    def begin(draw: np.random.Generator) -> Effect:
        slower = slowest ** draw.random(MOST_CALLERS)
        harder = hardest * draw.random(MOST_CALLERS) ** 2

        def effect(requests: Requests) -> None:
            wrong = draw.random(len(requests)) < harder[requests.caller]
            for answers in (requests.candidate, requests.stable):
                answers.ms *= slower[requests.caller]
                answers.right &= ~wrong

        return effect

    return begin


def asks_for_much(caller: int, times: float) -> Begins:
    """Let one caller's requests take longer and be predicted worse, with either version."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            hit = requests.caller == caller
            wrong = hit & (draw.random(len(requests)) < 0.4)
            for answers in (requests.candidate, requests.stable):
                answers.ms[hit] *= times
                answers.right &= ~wrong

        return effect

    return begin


def says_the_same() -> Begins:
    """Let the candidate give the commonest answer to everything, with the same confidence."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            mine = requests.candidate
            other = mine.label != 0
            mine.right &= ~other
            mine.hurts |= other
            mine.label[:], mine.confidence[:] = 0, 0.5

        return effect

    return begin


def unsure(confidence: float = 0.5) -> Begins:
    """Let the candidate give the stable's labels with little confidence."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            mine = requests.candidate
            mine.confidence[:] = np.clip(confidence + 0.02 * draw.standard_normal(len(requests)), 0, 1)
            mine.hurts[:] = True

        return effect

    return begin


def flips() -> Begins:
    """Exchange the candidate's two commonest labels."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            mine = requests.candidate
            first, second = mine.label == 0, mine.label == 1
            mine.label[first], mine.label[second] = 1, 0
            mine.right &= ~(first | second)
            mine.hurts |= first | second

        return effect

    return begin


def renames() -> Begins:
    """Rename the candidate's labels."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            requests.candidate.label += len(LABELS)
            requests.candidate.right[:] = False
            requests.candidate.hurts[:] = True

        return effect

    return begin


def answers_otherwise(share: float, *, right: float) -> Begins:
    """Let the candidate answer a share of requests otherwise, and be right in so many of those."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            mine, hit = requests.candidate, requests.kind < share
            mine.label[hit] = (mine.label[hit] + 1 + draw.integers(0, len(LABELS) - 1, int(hit.sum()))) % len(LABELS)
            is_right = draw.random(len(requests)) < right
            mine.hurts |= hit & ~is_right & requests.stable.right
            mine.right[hit] = is_right[hit]

        return effect

    return begin


def surer(by: float) -> Begins:
    """Let the candidate be a little surer of its answers, which are the stable's."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            requests.candidate.confidence[:] = np.clip(requests.candidate.confidence + by, 0, 1)

        return effect

    return begin


def less_accurate(accuracy: float) -> Begins:
    """Let the candidate be right less often, in any label."""
    lost = 1 - accuracy / ACCURACY

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            mine = requests.candidate
            worse = mine.right & (draw.random(len(requests)) < lost)
            mine.right &= ~worse
            mine.hurts |= worse
            mine.label[worse] = (mine.label[worse] + 1) % len(LABELS)

        return effect

    return begin


def is_right(candidate: float, stable: float) -> Begins:
    """Let both versions be right in so many of all answers, whatever the label."""

    def begin(draw: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            hard = draw.random(len(requests))
            requests.candidate.right[:], requests.stable.right[:] = hard < candidate, hard < stable
            requests.candidate.hurts |= requests.stable.right & ~requests.candidate.right

        return effect

    return begin


def doubled_answers() -> Begins:
    """Let the candidate give two answers to one instance."""

    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            requests.candidate.rows[:] = 2
            requests.candidate.hurts[:] = True

        return effect

    return begin


def _by_kind(share: float, *, status: int, both: bool) -> Begins:
    def begin(_: np.random.Generator) -> Effect:
        def effect(requests: Requests) -> None:
            for answers in (requests.candidate, requests.stable) if both else (requests.candidate,):
                answers.status[(requests.kind < share) & (answers.status == ANSWERED)] = status

        return effect

    return begin
