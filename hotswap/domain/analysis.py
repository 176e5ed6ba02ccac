"""Metrics and their rules, and the observations that they are judged on.

Data only: it crosses Temporal, is stored with the deployment, and judges a past deployment again. Figures are
cumulative since the step's weight was verified: a missed observation makes the next one coarser, and loses nothing. The
judging is in `hotswap/analysis/`; what follows from a verdict is in `hotswap/domain/policy.py`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from hotswap.domain.concurrent import Concurrent, ReferenceBudget
from hotswap.domain.proxies import AnswerCounts
from hotswap.domain.traffic import Counts

LATENCY_FLOOR_MS = 1.0
"""A slowdown below this is the machine's, not the version's: what a replica on a busy host waits for its turn."""

MINIMUM_CALLERS = 5

ANSWER = "answer"
"""The distribution of the answers themselves, as text, among those that a reading of answers has."""


class Source(StrEnum):
    """The source of a metric's figures."""

    ERRORS = "errors"
    """Requests that failed, as clients (or, where the stable stepped in, the proxies) saw it."""
    REFUSALS = "refusals"
    """Requests that were refused as the client's mistake (4xx): what both versions refuse is nobody's failure."""
    LATENCY = "latency"
    """Latency of answers, as the proxies measured it, in milliseconds."""
    CONFIDENCE = "confidence"
    """The mean confidence of the predictions."""
    PREDICTION = "prediction"
    """The mean of the predictions, where they are numbers."""
    ANSWERS = "answers"
    """The distributions of predictions, their sizes and their confidences, by what they are: text or numbers."""
    ACCURACY = "accuracy"
    """The share of right predictions of those whose outcome was reported; for regressions minus the absolute error."""
    DRIFT = "drift"
    """The largest distance (PSI or KS statistic) of a feature's distribution from its reference."""
    PROMETHEUS = "prometheus"
    WEBHOOK = "webhook"


FROM_PROXIES = frozenset({Source.ERRORS, Source.REFUSALS, Source.LATENCY})
"""Sources whose figures are in each observation's counts: nobody has to be asked for them."""

FROM_RECORDS = frozenset({Source.CONFIDENCE, Source.PREDICTION, Source.ANSWERS, Source.ACCURACY, Source.DRIFT})
"""Sources whose figures PostgreSQL works out of the step's records: the more records, the longer a reading takes."""


class JudgeName(StrEnum):
    THRESHOLD = "threshold"
    BETA_MIXTURE = "betaMixture"
    QUANTILE = "quantile"
    MEAN = "mean"
    KAYENTA = "kayenta"
    COLLAPSE = "collapse"
    LIMIT = "limit"


class Worse(StrEnum):
    """The direction in which a metric goes when the candidate is worse."""

    HIGHER = "higher"
    LOWER = "lower"


class NoVerdict(StrEnum):
    """The decision on a bake at whose end a metric has neither passed nor shown harm.

    `EXTEND` goes on until the step's deadline; what comes then is the rollout's `onNoVerdict`.
    """

    EXTEND = "extend"
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric and its rule.

    Which of the fields count depends on the judge:

    - `betaMixture` (errors, refusals): harm beyond `threshold` more of them per request than the stable.
    - `quantile` (latency): harm beyond `threshold` times the stable's `quantile`, and `floor_ms` above it.
    - `mean`: harm beyond `threshold` worse than the stable's mean, a share of it when `relative`; values in `bounds`.
    - `threshold`: harm outside `minimum` and `maximum`, of the value or, when `relative`, of its ratio to the stable's;
      `failures` readings in a row.
    - `kayenta`: once, at the end of the bake; harm is a significant difference that reaches `threshold` times the
      stable's mean.
    - `limit` (errors, refusals, latency): harm where more than `threshold` of the candidate's own requests failed, were
      refused, or took longer than `maximum` milliseconds; nothing is compared.
    - `collapse` (answers): harm where one answer, or one class of sizes or confidences, is `threshold` more of all
      than it is of the stable's; where answers are labels, `label_shift` more of one of them (None: `threshold`).

    `samples` is the least of each arm for a verdict. A metric that isn't `required` passes if it only lacks data, and
    says so; one that doesn't `rolls_back` never harms. `share` is its weight when the error probability is divided.
    """

    name: str
    source: Source
    judge: JudgeName
    threshold: float = 0.0
    worse: Worse = Worse.HIGHER
    relative: bool = False
    quantile: float = 0.5
    bounds: tuple[float, float] = (0.0, 1.0)
    minimum: float | None = None
    maximum: float | None = None
    failures: int = 1
    samples: int = 50
    query: str = ""
    """PromQL with `${candidate}`, `${stable}`, `${window}`…; or the name of a webhook of the settings."""
    interval_seconds: float = 5.0
    timeout_seconds: float = 5.0
    required: bool = True
    rolls_back: bool = True
    on_no_verdict: NoVerdict = NoVerdict.EXTEND
    share: float = 1.0
    floor_ms: float = LATENCY_FLOOR_MS
    label_shift: float | None = None

    @property
    def is_absolute(self) -> bool:
        """Return whether the metric is judged by limits of its own, without a stable beside the candidate."""
        return self.judge is JudgeName.THRESHOLD and not self.relative and self.source is not Source.DRIFT


@dataclass(frozen=True, slots=True)
class AnalysisPolicy:
    """All metrics of a rollout. `alpha` bounds how often a good candidate is rolled back by chance, over all of them.

    `promote_early` ends a bake as passed as soon as every required metric is shown to be within its threshold.
    `sample_ratio` holds a rollout whose observed split contradicts the commanded weight. Where callers are known, harm
    needs at least `minimum_callers` of them at the candidate; a request of nobody in particular counts as one.
    `reference` bounds what both arms are asked again at 100%, so that they are compared over the same time.
    """

    metrics: tuple[Metric, ...] = ()
    alpha: float = 0.01
    promote_early: bool = False
    sample_ratio: bool = True
    minimum_callers: int = MINIMUM_CALLERS
    reference: ReferenceBudget = field(default_factory=ReferenceBudget)


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of the values since the step's weight was verified."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.count - other.count, self.total - other.total, self.squares - other.squares)


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of one metric from its source at `at` (Unix time, seconds); which fields it fills is the source's.

    Means fill moments, and where there are callers that keep their arm also the moments of `draws`: each caller's mean
    once, and each value of nobody in particular. Queries fill values, a Kayenta judge's queries points (None where one
    is missing), a webhook `passed`, and answers how much of each distribution (by its name) lies in each category.
    `error` says why it could not be read: never a pass.
    """

    at: float
    candidate: Moments | None = None
    stable: Moments | None = None
    candidate_value: float | None = None
    stable_value: float | None = None
    candidate_points: tuple[float | None, ...] = ()
    stable_points: tuple[float | None, ...] = ()
    passed: bool | None = None
    message: str = ""
    error: str | None = None
    candidate_draws: Moments | None = None
    stable_draws: Moments | None = None
    candidate_shares: dict[str, dict[str, float]] = field(default_factory=dict)
    stable_shares: dict[str, dict[str, float]] = field(default_factory=dict)
    has_callers: bool = False


RESCUES = 6
"""The number of one caller's requests, failed by the candidate and answered well by the stable, that is no coincidence.
"""


@dataclass(frozen=True, slots=True)
class Entities:
    """Callers that keep their arm (sticky), each counted once, by the records of what they asked.

    `..._failed` are callers who met a failure of that arm, `..._refused` callers whom it refused what the other arm
    didn't refuse as well. `candidate_rescued` are those for whom the candidate failed every request, at least
    `RESCUES` of them, which the stable answered well in its place. `..._failures` are the failed requests that records
    tell of; None where nobody counted them. `..._latency` maps the upper bound of a bucket in microseconds to what lies
    in it of an arm's good answers, by the time in the replica: those of one caller weigh 1 together, and so does each
    answer to nobody in particular. `..._relative` is the same of callers alone, as multiples of each caller's own
    median at the stable before this step, which is taken for a millisecond.
    """

    candidate: int = 0
    stable: int = 0
    candidate_failed: int = 0
    stable_failed: int = 0
    candidate_refused: int = 0
    stable_refused: int = 0
    candidate_rescued: int = 0
    candidate_failures: int | None = None
    stable_failures: int | None = None
    candidate_latency: dict[str, float] = field(default_factory=dict)
    stable_latency: dict[str, float] = field(default_factory=dict)
    candidate_relative: dict[str, float] = field(default_factory=dict)
    stable_relative: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """The counts and readings known at `at`, since the step's weight was verified. Stored: a verdict is made on it.

    `readings` are those that are new since the observation before, by their metric's name. `missing` are the proxies
    that were silent: of what they answered since their last report nothing is known. `concurrent` is what both arms
    have replied to what they were asked again, at 100%, where that is new.
    """

    at: float
    candidate: Counts
    stable: Counts
    readings: dict[str, Reading] = field(default_factory=dict)
    entities: Entities | None = None
    missing: tuple[str, ...] = ()
    concurrent: Concurrent | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state that a restarted watch continues from, as of the observation at `at`.

    `judges` is what its judges had folded of all observations up to that one, `answered` what each proxy had counted.
    """

    at: float
    judges: bytes
    answered: AnswerCounts = field(default_factory=AnswerCounts)


@dataclass(frozen=True, slots=True)
class BakeRecord:
    """One analysis of one step: its observations in order, from `begun_at` on, when its weight was verified.

    A step that is analyzed again has another record. `weight` is in hundredths of a percent. `reference` holds the
    stable's counts from before the candidate got all traffic. Of an old record that is `thinned`, one observation a
    minute is left.
    """

    step: int
    begun_at: float
    weight: int
    reference: Counts | None = None
    observations: tuple[Observation, ...] = ()
    thinned: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """The arms that a source is asked about. `since` is when the step's weight was verified (Unix time, seconds)."""

    deployment_id: str
    environment: str
    model: str
    candidate: str
    stable: str
    candidate_version: str
    stable_version: str
    weight: int
    since: float
