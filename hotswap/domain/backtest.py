"""A backtest: the candidate is asked what clients really asked the stable, before any client meets it.

This module has the recorded requests and their selection, the replies, the report of the differences, and what follows
from a report. `hotswap/analysis/backtest.py` compares replies and weighs the evidence. A report crosses Temporal and is
shown to people, so it holds request ids, names of fields and counts, but no value of any feature.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import chain, zip_longest
from typing import Any, TypeVar

from hotswap.domain.vocabulary import Environment, RequestForm

SAMPLES = 200
FEW = 20
"""A backtest of fewer requests says little of a candidate that passes it, and the report says so."""

AT_ONCE = 8
"""The number of requests in work at a time when the latency of both versions is measured under load."""

MOST_SECONDS = 120.0
"""A backtest asks no longer than this."""
HURRIED_SECONDS = 10.0
"""The duration of a backtest in an emergency."""

MOST_EXAMPLES = 3
MOST_PARTS = 5

_Item = TypeVar("_Item")


def backtest_seconds(progress_deadline: timedelta) -> float:
    """Return how long a backtest may ask: a quarter of a phase's deadline, so that there is time for a retry."""
    return min(MOST_SECONDS, progress_deadline.total_seconds() / 4)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a request, without its elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request that the stable has answered, with its answers: one for each instance.

    `confidence` is recorded of single instances only. `inputs` and `outputs` are those of a request in tensors; a
    client that named no outputs gets all of them. `caller` tells callers apart, and None is a caller that is not known.
    `at` is Unix time in seconds.
    """

    request_id: str
    form: RequestForm
    instances: tuple[Any, ...]
    answers: tuple[Any, ...]
    at: float
    confidence: float | None = None
    caller: int | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """The requests that can be asked again. `reason` says why there are none, if it isn't for lack of requests."""

    requests: tuple[RecordedRequest, ...] = ()
    reason: str | None = None


def spread(items: Sequence[_Item], most: int, *, by: Sequence[Callable[[_Item], Hashable]]) -> list[_Item]:
    """Choose at most `most` items, in turn from the groups of the first key.

    In each group the items come in turn from the groups of the second key, and so on. An item keeps its place within
    its group, so of items that are sorted by age the newest are taken.
    """
    return list(_by_turns(items, by))[:most]


def _by_turns(items: Sequence[_Item], by: Sequence[Callable[[_Item], Hashable]]) -> Iterator[_Item]:
    if not by:
        yield from items
        return
    groups: dict[Hashable, list[_Item]] = defaultdict(list)
    for item in items:
        groups[by[0](item)].append(item)
    nothing = object()
    for turn in zip_longest(*(_by_turns(group, by[1:]) for group in groups.values()), fillvalue=nothing):
        yield from (item for item in turn if item is not nothing)  # type: ignore[misc]  # what is left are items


class ReplyKind(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"
    """The replica said that the request was at fault (4xx)."""
    FAILED = "failed"
    """The replica said that it was at fault itself (5xx), broke off, took too long, or wrote what nobody can read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A replica's reply to one request.

    `answers` has one for each instance, and is None where the outputs that the client named don't hold the prediction.
    `field` is what a refusal names, `problem` says in a word how it failed; neither has a value of the request. One
    that failed and is not `certain` may have met a busy moment. `model_seconds` is how long the model itself took, as
    the replica says, without the wait for its turn; None where it doesn't say. If the version was registered so,
    an answer `may_be_null`.
    """

    kind: ReplyKind
    seconds: float
    answers: tuple[Any, ...] | None = None
    confidence: float | None = None
    field: str | None = None
    problem: str = ""
    certain: bool = True
    model_seconds: float | None = None
    may_be_null: bool = False


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """One request and the replies to it: the first was alone, those after it came among others at the same time.

    The stable may have none, where it can't be reached. What the candidate has failed alone was asked of both `again`,
    some times.
    """

    request: RecordedRequest
    candidate: tuple[Reply, ...]
    stable: tuple[Reply, ...] = ()
    again: tuple["AskedRequest", ...] = ()

    @property
    def is_candidates_failure(self) -> bool:
        """Return whether the candidate failed each time it was asked alone, and the stable, if any, never did."""
        return all(
            failure(each.request, each.candidate[0]) is not None
            and (not each.stable or each.stable[0].kind is ReplyKind.ANSWERED)
            for each in (self, *self.again)
        )


def failure(request: RecordedRequest, reply: Reply) -> str | None:
    """Return how this reply is a failure, or None: a null answer where the stable had one is a failure too."""
    if reply.kind is ReplyKind.FAILED:
        return reply.problem
    if reply.kind is not ReplyKind.ANSWERED or reply.answers is None:
        return None
    if len(reply.answers) != len(request.answers):
        return "another number of answers than of instances"
    if not reply.may_be_null and any(
        _lacks(mine, theirs) for mine, theirs in zip(reply.answers, request.answers, strict=True)
    ):
        return "an answer that is no finite number"
    return None


def _lacks(mine: Any, theirs: Any) -> bool:
    """Return whether my answer lacks what the other has: JSON writes NaN and infinity as null."""
    return None in leaves(mine) and None not in leaves(theirs)


def leaves(value: Any) -> list[Any]:
    """Return the values that an answer of lists and objects is made of."""
    if isinstance(value, Mapping):
        return list(chain.from_iterable(map(leaves, value.values())))
    if isinstance(value, list | tuple):
        return list(chain.from_iterable(map(leaves, value)))
    return [value]


@dataclass(frozen=True, slots=True)
class ReplyTally:
    """A count of `hits` among all; `at_least` is the share that the evidence shows, not the share that was observed."""

    hits: int = 0
    of: int = 0
    at_least: float = 0.0

    def is_over(self, limit: float) -> bool:
        """Return whether there is evidence for more than this share."""
        return self.hits > 0 and self.at_least > limit


@dataclass(frozen=True, slots=True)
class DifferingPart:
    """A part of the requests or their rows: a field, a kind of failure, a class or a slice, with some request ids."""

    name: str
    hits: int
    of: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """The time that both versions took for the same `requests`, with `at_once` of them at a time.

    The times are milliseconds, measured by the worker that asked.
    """

    at_once: int
    requests: int
    candidate_p50_ms: float
    candidate_p95_ms: float
    stable_p50_ms: float
    stable_p95_ms: float


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The result of a backtest at `at` (Unix time, seconds): of `found` records, `asked` were sent to the candidate.

    `left_out` were asked and are not compared, since the stable itself does not answer them any more. `tolerance` is
    how far two scores may be apart, None where answers are labels. `collapse` says how the answers tell less apart,
    `shift` how their distribution has moved; `notes` is what a person should know of how the result was made.
    """

    at: float
    asked: int = 0
    found: int = 0
    callers: int = 0
    left_out: int = 0
    refusals: ReplyTally = ReplyTally()
    refused_fields: tuple[DifferingPart, ...] = ()
    failures: ReplyTally = ReplyTally()
    failure_kinds: tuple[DifferingPart, ...] = ()
    disagreements: ReplyTally = ReplyTally()
    tolerance: float | None = None
    disagreeing: tuple[str, ...] = ()
    classes: tuple[DifferingPart, ...] = ()
    slices: tuple[DifferingPart, ...] = ()
    collapse: str | None = None
    shift: str | None = None
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()


class OnBreach(StrEnum):
    """The end of a candidate that refuses or fails too many of the requests that the stable has answered."""

    FAIL = "fail"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class BacktestLimits:
    """The shares that are allowed. If `disagreements` is None, different answers hold no deployment."""

    refusals: float = 0.01
    failures: float = 0.01
    disagreements: float | None = 0.3
    on_breach: OnBreach = OnBreach.FAIL


class Ruling(StrEnum):
    GO_ON = "GoOn"
    HOLD = "Hold"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class Ruled:
    """The decision that follows from a report, with its reasons in a few sentences for people."""

    ruling: Ruling
    message: str


def rule(report: BacktestReport, limits: BacktestLimits, *, environment: Environment) -> Ruled:
    """Decide by a report: a share is over its limit only if the evidence is.

    Refusals and failures end a deployment, or hold it. Different answers may be the very reason why a version was
    trained: they wait for a person in Production, and are only reported elsewhere.
    """
    breaches = _breaches(report, limits)
    differences = _differences(report, limits)
    summary = "; ".join([*breaches, *differences]) or summarized(report)
    if breaches and limits.on_breach is OnBreach.FAIL:
        return Ruled(Ruling.FAIL, f"{summary}; no client has met it")
    if breaches or (differences and environment is Environment.PRODUCTION):
        return Ruled(Ruling.HOLD, f"{summary}; `approve` lets it go on, `reject` ends it, and no client has met it yet")
    return Ruled(Ruling.GO_ON, summary)


def summarized(report: BacktestReport) -> str:
    """Return a report in one sentence."""
    notes = "; ".join(report.notes)
    if not report.asked:
        return notes or "no recorded request was asked"
    counted = [
        f"{tally.hits} {name}"
        for name, tally in (
            ("refused", report.refusals),
            ("failed", report.failures),
            ("answered otherwise", report.disagreements),
        )
    ]
    told = f"{report.asked} recorded requests were asked of the candidate: {', '.join(counted)}"
    return f"{told}; {notes}" if notes else told


def findings(report: BacktestReport) -> tuple[str, ...]:
    """Return what a person may want to look at, one line each, with requests to begin with."""
    found = [
        *(f"refused for {_part(each)}" for each in report.refused_fields),
        *(f"failed: {_part(each)}" for each in report.failure_kinds),
    ]
    if report.disagreeing:
        found.append(f"answered otherwise: requests {', '.join(report.disagreeing)}")
    found += [f"answered otherwise where the stable says {_part(each)}" for each in report.classes if each.hits]
    found += [f"answered otherwise more often with {_part(each)}" for each in report.slices]
    found += [each for each in (report.collapse, report.shift) if each is not None]
    return (*found, *map(_timing, report.timings))


def _part(part: DifferingPart) -> str:
    such_as = f", such as {', '.join(part.examples)}" if part.examples else ""
    return f"{part.name}: {part.hits} of {part.of}{such_as}"


def _timing(timing: Timing) -> str:
    mine = f"candidate p50 {timing.candidate_p50_ms:.1f} ms, p95 {timing.candidate_p95_ms:.1f} ms"
    theirs = f"stable p50 {timing.stable_p50_ms:.1f} ms, p95 {timing.stable_p95_ms:.1f} ms"
    return f"latency, {timing.at_once} at a time: {mine}; {theirs}"


def _breaches(report: BacktestReport, limits: BacktestLimits) -> list[str]:
    found = []
    if report.refusals.is_over(limits.refusals):
        told = _over(report.refusals, limits.refusals, "maxRefusals")
        found.append(f"the candidate refuses what the stable has answered, {told}{_parts(report.refused_fields)}")
    if report.failures.is_over(limits.failures):
        told = _over(report.failures, limits.failures, "maxFailures")
        found.append(f"the candidate fails what the stable has answered, {told}{_parts(report.failure_kinds)}")
    return found


def _differences(report: BacktestReport, limits: BacktestLimits) -> list[str]:
    if limits.disagreements is None:
        return []
    found = []
    if report.disagreements.is_over(limits.disagreements):
        told = _over(report.disagreements, limits.disagreements, "maxDisagreement")
        such_as = f", such as request {report.disagreeing[0]}" if report.disagreeing else ""
        found.append(f"the candidate answers otherwise than the stable has, {told}{such_as}")
    if report.collapse is not None:
        found.append(report.collapse)
    return found


def _over(tally: ReplyTally, limit: float, setting: str) -> str:
    return f"{tally.hits} of {tally.of} (evidence for more than {tally.at_least:.1%}; `{setting}` is {limit:.4g})"


def _parts(parts: tuple[DifferingPart, ...]) -> str:
    told = [f"{each.name} {each.hits}" + (f" (request {each.examples[0]})" if each.examples else "") for each in parts]
    return f": {', '.join(told)}" if told else ""
