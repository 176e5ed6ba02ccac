"""What a bake looks at, and who judges it."""

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
    """One step's analysis under way. The same looks in the same order give the same verdict, always."""

    def add(self, look: Observation) -> None:
        """The next look; its counts and moments are cumulative. One that isn't newer than the last is left out."""

    def verdict(self, *, is_over: bool = False) -> Verdict:
        """What is known by the last look; `is_over` says that the bake is, so what judges once judges now."""

    @property
    def last(self) -> Observation | None:
        """The newest look that was added."""

    @property
    def concurrent(self) -> Concurrent | None:
        """The newest reference that a look had."""

    def folded(self) -> bytes:
        """All that it needs to go on from the last look; it doesn't grow with the number of looks."""

    def resume(self, folded: bytes) -> bool:
        """Go on from there, before any look is added. False where another version or policy folded it: begin anew."""


class Judge(Protocol):
    """`hotswap.analysis.judge.StepJudging`: pure, but kept out of workflow modules since it brings scipy along."""

    def __call__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> Judging: ...


class Observations(Protocol):
    """What every analysis saw and said: the record that `explain` reads and `replay` judges again."""

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        """Add the looks of `bake` that are not there yet, and let the verdict be the newest of this analysis.

        The checkpoint, if there is one, takes the place of an older one.
        """

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        """The newest of this analysis, from which a watch that starts again goes on."""

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        """The first `limit` of those recorded of this analysis after that time, in order."""


class Meter(Protocol):
    """Reads the figures of one source."""

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Of both arms since `subject.since`.

        What can't be read is an answer as well (`Reading.error`), but whatever is raised counts as one too.
        """


class StickyCallers(Protocol):
    async def entities(self, subject: Subject) -> Entities:
        """Callers with an arm of their own that asked for this model since `subject.since`, each counted once."""
