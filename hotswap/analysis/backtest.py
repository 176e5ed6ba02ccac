"""Compares what a candidate answers to recorded requests with what the stable has answered, request by request. Pure.

The request is the unit of evidence, whatever its number of rows, since the rows of one are alike. A share is shown only
as far as the evidence goes (`shares.py`). What the stable refuses or fails as well, when it is asked again, says
nothing of the candidate and is left out. A failure may be chance, which the stable meets as often: so it counts as far
as the candidate fails more than the stable does. Limits and what follows from them are `hotswap/domain/backtest.py`.

It takes what was asked and answers counts, names of fields and request ids: no value of a feature leaves it, so a slice
is named by the rank of its values.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Any

import msgspec
import numpy as np

from hotswap.analysis.drift import compare as distances
from hotswap.analysis.drift import furthest
from hotswap.analysis.shares import ALPHA, always_at_least, at_least, excess_at_least, tally
from hotswap.domain.backtest import (
    AT_ONCE,
    FEW,
    MOST_EXAMPLES,
    MOST_PARTS,
    AskedRequest,
    BacktestReport,
    DifferingPart,
    RecordedSample,
    Reply,
    ReplyKind,
    ReplyTally,
    Timing,
    failure,
    leaves,
)
from hotswap.domain.distributions import columns, is_number, summarized

MOST_CLASSES = 20
"""Integral answers of more values than this are scores, and are compared by their distance."""

SPREADS = 0.5
"""The distance that two scores may have by default, in standard deviations of the stable's scores."""

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""Nearer than this two numbers are the same on other hardware, whatever tolerance was asked for."""

MOST_ROWS = 100
"""The most rows of a request that are compared, the first ones: those of one request are alike."""

LOST_CONFIDENCE = 0.2
SPREAD_LEFT = 0.05


@dataclass(frozen=True, slots=True)
class _Row:
    """One instance with both answers to it."""

    request_id: str
    features: Any
    theirs: Any
    mine: Any
    differs: bool


def compare(
    recorded: RecordedSample, asked: Sequence[AskedRequest], *, wanted: int, tolerance: float | None, at: float
) -> BacktestReport:
    """Return the report of these replies.

    `wanted` is how many requests should have been asked, `at` Unix time in seconds. `tolerance` is how far two scores
    may be apart; None takes half a standard deviation of the stable's.
    """
    compared = [each for each in asked if _is_comparable(each)]
    report = BacktestReport(
        at=at,
        asked=len(asked),
        found=len(recorded.requests),
        callers=len({each.request.caller for each in asked if each.request.caller is not None}),
        left_out=len(asked) - len(compared),
        notes=tuple(_notes(recorded, asked, compared, wanted)),
        timings=tuple(_timings(asked)),
    )
    if not compared:
        return report
    refused = [
        (each.request.request_id, reply.field or "the whole request") for each, reply in _first(compared, _refused)
    ]
    failed = [(each.request.request_id, problem) for each in compared if (problem := _failure(each)) is not None]
    report = replace(
        report,
        refusals=tally(len(refused), len(compared)),
        refused_fields=_grouped(refused, of=len(compared)),
        failures=_failures(len(failed), len(compared), [each for each in asked if not _is_mistake(each)]),
        failure_kinds=_grouped(failed, of=len(compared)),
    )
    return _with_answers(report, [each for each in compared if _is_answered(each)], tolerance)


def _is_comparable(asked: AskedRequest) -> bool:
    """Return whether the stable still answers it; otherwise it is the client's mistake, or everybody's failure."""
    return not asked.stable or asked.stable[0].kind is ReplyKind.ANSWERED


def _is_mistake(asked: AskedRequest) -> bool:
    """Return whether the stable refuses now what it answered before."""
    return bool(asked.stable) and asked.stable[0].kind is ReplyKind.REFUSED


def _replies(asked: AskedRequest) -> Iterator[Reply]:
    """Yield the candidate's replies, without those of a time in which the stable didn't answer either."""
    for mine, theirs in zip_longest(asked.candidate, asked.stable):
        if mine is not None and (theirs is None or theirs.kind is ReplyKind.ANSWERED):
            yield mine


def _refused(reply: Reply) -> bool:
    return reply.kind is ReplyKind.REFUSED


def _first(asked: Iterable[AskedRequest], is_so: Callable[[Reply], bool]) -> Iterator[tuple[AskedRequest, Reply]]:
    for each in asked:
        if (reply := next(filter(is_so, _replies(each)), None)) is not None:
            yield each, reply


def _failure(asked: AskedRequest) -> str | None:
    """Return how the candidate failed this request, if it did."""
    return next((told for reply in _replies(asked) if (told := failure(asked.request, reply)) is not None), None)


def _failures(failed: int, compared: int, asked: Sequence[AskedRequest]) -> ReplyTally:
    """Return the failures, with the lower bound of the share that the candidate fails more than the stable does.

    Both fail some by chance. The bound is the higher one of two, so each of them holds at half of `ALPHA`.
    """
    if not failed:
        return ReplyTally(0, compared)
    always = [each for each in asked if each.is_candidates_failure]
    times = 1 + min((len(each.again) for each in always), default=0)
    pairs = [each for each in asked if each.stable]
    mine = [any(failure(each.request, reply) is not None for reply in each.candidate) for each in pairs]
    theirs = [any(reply.kind is ReplyKind.FAILED for reply in each.stable) for each in pairs]
    shown = max(
        always_at_least(len(always), len(asked), times=times, alpha=ALPHA / 2),
        excess_at_least(
            sum(here and not there for here, there in zip(mine, theirs, strict=True)),
            sum(there and not here for here, there in zip(mine, theirs, strict=True)),
            len(pairs),
            alpha=ALPHA / 2,
        ),
    )
    return ReplyTally(failed, compared, shown)


def _is_answered(asked: AskedRequest) -> bool:
    return (
        bool(asked.candidate)
        and asked.candidate[0].kind is ReplyKind.ANSWERED
        and asked.candidate[0].answers is not None
        and _failure(asked) is None
    )


def _with_answers(report: BacktestReport, answered: Sequence[AskedRequest], tolerance: float | None) -> BacktestReport:
    """Return the report, completed by what the answers' values show."""
    if not answered:
        return report
    theirs = [_plain(each) for asked in answered for each in asked.request.answers]
    apart = None if _are_labels(theirs) else _tolerance(theirs) if tolerance is None else tolerance
    rows = [_rows(each, apart) for each in answered]
    shares = [sum(row.differs for row in each) / len(each) for each in rows]
    worst = sorted(range(len(rows)), key=lambda number: -shares[number])
    flat = list(chain.from_iterable(rows))
    return replace(
        report,
        disagreements=tally(sum(shares), len(rows)),
        tolerance=apart,
        disagreeing=tuple(rows[number][0].request_id for number in worst[:MOST_EXAMPLES] if shares[number] > 0),
        classes=_classes(flat) if apart is None else (),
        slices=_slices(flat),
        collapse=_collapse([each[0] for each in rows]) or _lost_confidence(answered),
        shift=_shift(flat),
    )


def _rows(asked: AskedRequest, tolerance: float | None) -> list[_Row]:
    reply = asked.candidate[0]
    assert reply.answers is not None
    pairs = islice(zip(asked.request.instances, asked.request.answers, reply.answers, strict=True), MOST_ROWS)
    return [
        _Row(
            asked.request.request_id,
            features,
            _plain(theirs),
            _plain(mine),
            _differs(_plain(theirs), _plain(mine), tolerance),
        )
        for features, theirs, mine in pairs
    ]


def _plain(answer: Any) -> Any:
    """Unpack a list of one: tensors have a dimension that JSON's answers may lack."""
    return answer[0] if isinstance(answer, list | tuple) and len(answer) == 1 else answer


def _differs(theirs: Any, mine: Any, tolerance: float | None) -> bool:
    if _is_numeric(theirs) and _is_numeric(mine):
        return bool(abs(theirs - mine) > max(tolerance or 0.0, ABSOLUTE, RELATIVE * abs(theirs)))
    if isinstance(theirs, list) and isinstance(mine, list):
        return len(theirs) != len(mine) or any(map(_differs, theirs, mine, [tolerance] * len(theirs)))
    if isinstance(theirs, Mapping) and isinstance(mine, Mapping):
        return theirs.keys() != mine.keys() or any(_differs(theirs[key], mine[key], tolerance) for key in theirs)
    return type(theirs) is not type(mine) or bool(theirs != mine)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_labels(answers: Sequence[Any]) -> bool:
    numbers = {each for answer in answers for each in leaves(answer) if _is_numeric(each)}
    return len(numbers) <= MOST_CLASSES and all(float(each).is_integer() for each in numbers)


def _tolerance(answers: Sequence[Any]) -> float:
    """Return half a standard deviation of the stable's scores, estimated from the quartiles, which no outlier moves."""
    numbers = [float(each) for answer in answers for each in leaves(answer) if is_number(each)]
    low, high = np.quantile(numbers, [0.25, 0.75])
    deviation = (high - low) / 1.349
    return float(SPREADS * (deviation if deviation > 0 else np.std(numbers)))


def _grouped(named: Sequence[tuple[str, str]], *, of: int) -> tuple[DifferingPart, ...]:
    """Request ids by what they have in common, the commonest first."""
    ids: dict[str, list[str]] = defaultdict(list)
    for request_id, name in named:
        ids[name].append(request_id)
    ordered = sorted(ids.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(DifferingPart(name, len(each), of, tuple(each[:MOST_EXAMPLES])) for name, each in ordered[:MOST_PARTS])


def _classes(rows: Sequence[_Row]) -> tuple[DifferingPart, ...]:
    """Return the differences by the stable's label.

    Labels that are many or long may be the features themselves, and are not named.
    """
    labels = {_text(row.theirs) for row in rows}
    if len(labels) > MOST_CLASSES or any(len(each) > 60 for each in labels):
        return ()
    parts = [_part(label, [row for row in rows if _text(row.theirs) == label]) for label in sorted(labels)]
    return tuple(sorted(parts, key=lambda each: -each.hits / each.of))


def _slices(rows: Sequence[_Row]) -> tuple[DifferingPart, ...]:
    """Return slices in which the answers differ more than overall, with evidence; they share the error probability."""
    overall = sum(row.differs for row in rows) / len(rows)
    if overall in (0.0, 1.0):
        return ()
    candidates = [_part(name, group) for name, group in _sliced(rows) if len(group) < len(rows)]
    shown = [part for part in candidates if at_least(part.hits, part.of, alpha=ALPHA / len(candidates)) > overall]
    return tuple(sorted(shown, key=lambda each: -each.hits / each.of)[:MOST_PARTS])


def _sliced(rows: Sequence[_Row]) -> Iterator[tuple[str, list[_Row]]]:
    for feature, values in columns(row.features for row in rows).items():
        if len(values) != len(rows):
            return  # some instances are none at all, so rows and values don't go together
        present = [each for each in values if each is not None]
        missing = [row for row, value in zip(rows, values, strict=True) if value is None]
        if missing:
            yield f"{feature} missing", missing
        if present and all(map(_is_numeric, present)) and len(set(present)) > MOST_PARTS:
            edges = np.quantile(present, [0.25, 0.5, 0.75])
            for number, name in enumerate(("lowest", "second", "third", "highest")):
                inside = [
                    row
                    for row, value in zip(rows, values, strict=True)
                    if value is not None and np.searchsorted(edges, value, side="left") == number
                ]
                if inside:
                    yield f"{feature} in its {name} quarter", inside
            continue
        for rank, (common, _) in enumerate(Counter(map(_text, present)).most_common(MOST_PARTS), start=1):
            inside = [
                row for row, value in zip(rows, values, strict=True) if value is not None and _text(value) == common
            ]
            yield f"{feature} at its value number {rank} by frequency", inside


def _part(name: str, rows: Sequence[_Row]) -> DifferingPart:
    differing = [row.request_id for row in rows if row.differs]
    return DifferingPart(name, len(differing), len(rows), tuple(dict.fromkeys(differing))[:MOST_EXAMPLES])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _collapse(rows: Sequence[_Row]) -> str | None:
    """Return whether the candidate answers all requests alike that the stable told apart; each request counts once."""
    theirs, mine = Counter(_text(row.theirs) for row in rows), Counter(_text(row.mine) for row in rows)
    others = len(rows) - max(theirs.values())
    if len(mine) == 1 and 2.0**-others < ALPHA:
        told = f"the candidate answers all {len(rows)} requests alike"
        return f"{told}, of which the stable has answered {others} otherwise than the most"
    scores = [(row.theirs, row.mine) for row in rows if is_number(row.theirs) and is_number(row.mine)]
    if len(scores) >= FEW and not _are_labels([each for each, _ in scores]):
        was, now = (float(np.std(each)) for each in zip(*scores, strict=True))
        if now < SPREAD_LEFT * was:
            return f"the candidate's scores have {now / was:.1%} of the spread that the stable's have"
    return None


def _lost_confidence(answered: Sequence[AskedRequest]) -> str | None:
    pairs = [
        (each.request.confidence, each.candidate[0].confidence or 0.0)
        for each in answered
        if each.request.confidence is not None
    ]
    lost = tally(sum(was - now > LOST_CONFIDENCE for was, now in pairs), len(pairs))
    if not lost.is_over(0.5):
        return None
    was, now = (float(np.median(each)) for each in zip(*pairs, strict=True))
    told = f"the candidate is less sure by more than {LOST_CONFIDENCE:g} of {lost.hits} of {lost.of} answers"
    return f"{told}; its median confidence is {now:.2f}, and the stable's was {was:.2f}"


def _shift(rows: Sequence[_Row]) -> str | None:
    """Return how far the distribution of answers has moved, where chance doesn't explain it."""
    found = distances(
        summarized(columns({"answer": row.theirs} for row in rows)), columns({"answer": row.mine} for row in rows)
    )
    if not found:
        return None
    name, distance = furthest(found)
    drift = found[name]
    if not distance or not drift.is_drifted:
        return None
    ks = f", Kolmogorov-Smirnov {drift.ks:.2f}" if drift.ks is not None else ""
    return f"the distribution of answers has moved: PSI {drift.psi:.2f}{ks}"


def _timings(asked: Sequence[AskedRequest]) -> Iterator[Timing]:
    """Yield the times of requests that were asked one at a time, then those of requests asked among others."""
    for turn, at_once in ((0, 1), (1, AT_ONCE)):
        pairs = [
            (each.candidate[turn].seconds * 1000, each.stable[turn].seconds * 1000)
            for each in asked
            if len(each.candidate) > turn
            and len(each.stable) > turn
            and each.candidate[turn].kind is each.stable[turn].kind is ReplyKind.ANSWERED
        ]
        if pairs:
            mine, theirs = (np.quantile(each, [0.5, 0.95]) for each in zip(*pairs, strict=True))
            yield Timing(at_once, len(pairs), float(mine[0]), float(mine[1]), float(theirs[0]), float(theirs[1]))


def _notes(
    recorded: RecordedSample, asked: Sequence[AskedRequest], compared: Sequence[AskedRequest], wanted: int
) -> Iterator[str]:
    if recorded.reason is not None:
        yield recorded.reason
    elif not recorded.requests:
        yield "the stable has answered no request of the last 24 hours that could be asked again, so nothing was tried"
    elif len(asked) < len(recorded.requests):
        yield f"only {len(asked)} of {len(recorded.requests)} recorded requests could be asked in the time there was"
    if recorded.requests and len(compared) < FEW:
        yield f"{len(compared)} requests compared are too few to say that it answers well"
    elif recorded.requests and len(recorded.requests) < wanted:
        yield f"there are {len(recorded.requests)} distinct requests of the last 24 hours, of {wanted} wanted"
    if left_out := len(asked) - len(compared):
        yield f"{left_out} are left out, since the stable does not answer them any more"
    if asked and not any(each.stable for each in asked):
        yield "the stable could not be asked beside it, so latency is not compared"
