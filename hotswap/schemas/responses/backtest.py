"""Results of a backtest: the candidate gets requests that the stable was sent, before any client meets it."""

from datetime import datetime

from hotswap.schemas.responses.base import View


class TallyView(View):
    """A count of cases out of all; the evidence shows that the share is more than `atLeast`."""

    hits: int
    of: int
    at_least: float


class BacktestPartView(View):
    """A field, a kind of failure, a class or a slice, with ids of some of its requests."""

    name: str
    hits: int
    of: int
    examples: list[str]


class TimingView(View):
    """The time that both versions took for the same requests, `atOnce` of them at a time, in milliseconds."""

    at_once: int
    requests: int
    candidate_p50_ms: float
    candidate_p95_ms: float
    stable_p50_ms: float
    stable_p95_ms: float


class BacktestView(View):
    """A backtest: of `found` records, `asked` were sent to the candidate. It holds no feature's value.

    `leftOut` are not compared, since the stable doesn't answer them any more. `tolerance` is how far two scores may be
    apart, null where answers are labels; `disagreeing` are ids of requests that were answered otherwise. `summary` and
    `findings` are the same in words.
    """

    at: datetime
    summary: str
    findings: list[str]
    asked: int
    found: int
    callers: int
    left_out: int
    refusals: TallyView
    refused_fields: list[BacktestPartView]
    failures: TallyView
    failure_kinds: list[BacktestPartView]
    disagreements: TallyView
    tolerance: float | None
    disagreeing: list[str]
    classes: list[BacktestPartView]
    slices: list[BacktestPartView]
    collapse: str | None
    shift: str | None
    timings: list[TimingView]
    notes: list[str]
