"""Requests that a backtest has asked, the replies to them, and the report of what was asked."""

from collections.abc import Callable, Sequence
from typing import Any

from hotswap.analysis.backtest import compare
from hotswap.domain.backtest import AskedRequest, BacktestReport, RecordedRequest, RecordedSample, Reply, ReplyKind
from hotswap.domain.vocabulary import RequestForm


def recorded(
    number: int, *answers: Any, features: Any = None, confidence: float | None = None, caller: int | None = None
) -> RecordedRequest:
    return RecordedRequest(
        f"r-{number}",
        RequestForm.INSTANCE,
        tuple(features if features is not None else [number] for _ in answers),
        answers,
        float(number),
        confidence,
        caller,
    )


def answered(*answers: Any, confidence: float | None = None, seconds: float = 0.001) -> Reply:
    return Reply(ReplyKind.ANSWERED, seconds, answers, confidence)


def refused(field: str = "features.amount") -> Reply:
    return Reply(ReplyKind.REFUSED, 0.001, field=field)


def failed(problem: str = "500") -> Reply:
    return Reply(ReplyKind.FAILED, 0.001, problem=problem)


def report(asked: Sequence[AskedRequest], *, wanted: int = 200, tolerance: float | None = None) -> BacktestReport:
    found = RecordedSample(tuple(each.request for each in asked))
    return compare(found, asked, wanted=wanted, tolerance=tolerance, at=1.0)


def all_of(number: int, one: Callable[[int], AskedRequest]) -> BacktestReport:
    return report([one(each) for each in range(number)])


def as_good(number: int) -> AskedRequest:
    return AskedRequest(recorded(number, number % 2), (answered(number % 2),), (answered(number % 2),))
