"""What a backtest asks again, of whom, and how it is compared and kept."""

from collections.abc import Sequence
from typing import Protocol

from hotswap.domain.backtest import AskedRequest, BacktestReport, RecordedRequest, RecordedSample, Reply


class Backtests(Protocol):
    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        """The newest distinct requests that the application has answered in the last 24 hours, at most so many.

        They are spread over hours and callers. There are none of a model that must not be asked twice.
        """

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        """The newest requests that the application has answered after `since` (Unix time), at most so many.

        They are spread over callers. There are none of a model that must not be asked twice.
        """

    async def store(self, deployment_id: str, report: BacktestReport) -> None:
        """Keep the report with the deployment; a newer one takes its place."""


class ReplicaAsker(Protocol):
    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        """Put one request to the replica at `target` (`host:port`), in its own form, and so that it counts nowhere.

        What a replica does with it is in the reply. Raises Unavailable where nobody is there who could be asked.
        """


class Comparison(Protocol):
    """`hotswap.analysis.backtest.compare`: pure, but kept out of workflow modules since it brings scipy along."""

    def __call__(
        self,
        recorded: RecordedSample,
        asked: Sequence[AskedRequest],
        *,
        wanted: int,
        tolerance: float | None,
        at: float,
    ) -> BacktestReport:
        """The report of these replies; `wanted` is how many requests should have been asked, `at` Unix time."""
