"""The figures that a bake observes, and the judge of them."""

from collections.abc import Mapping
from typing import Protocol

from hotswap.domain.analysis import (
    AnalysisPolicy,
    BakeRecord,
    Checkpoint,
    Entities,
    Metric,
    Observation,
    Reading,
    Subject,
)
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Verdict


class Judging(Protocol):
    """One step's analysis under way. The same observations in the same order always give the same verdict."""

    def add(self, observation: Observation) -> None:
        """Add the next observation, cumulative in counts and times; one that isn't newer than the last is ignored."""

    def verdict(self, *, is_over: bool = False) -> Verdict:
        """Return the verdict on the observations so far.

        If `is_over` the bake has ended, so judges that judge once judge now.
        """

    @property
    def last(self) -> Observation | None:
        """The newest observation that was added."""

    @property
    def concurrent(self) -> Concurrent | None:
        """The newest concurrent reference that an observation had."""

    def folded(self) -> bytes:
        """Return the whole state after the last observation; its size doesn't grow with their number."""

    def resume(self, folded: bytes) -> bool:
        """Continue from a folded state, before any observation is added.

        Return False where another version or policy folded it: then begin anew.
        """


class Judge(Protocol):
    """`hotswap.analysis.judge.StepJudging`: pure, but kept out of workflow modules since it brings scipy along."""

    def __call__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> Judging: ...


class Observations(Protocol):
    """The observations and verdicts of every analysis: `explain` reads this record, and `replay` judges it again."""

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        """Add those observations of `bake` that are not stored yet, and store the verdict as this analysis's newest.

        The checkpoint, if there is one, replaces an older one.
        """

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        """Return the newest checkpoint of this analysis, from which a restarted watch continues."""

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        """Return the first `limit` recorded observations of this analysis after that time, in order."""


class Meter(Protocol):
    """Reads the figures of one source."""

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Return the figures of both arms since `subject.since`.

        A source that can't be read is an answer as well (`Reading.error`); an exception counts as one too.
        """


class StickyCallers(Protocol):
    async def entities(self, subject: Subject) -> Entities:
        """Count the callers that keep their arm and asked this model since `subject.since`, each of them once."""
