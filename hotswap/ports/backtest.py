"""The requests that a backtest repeats, the replicas that answer them, and the comparison of the replies."""

from collections.abc import Sequence
from typing import Protocol

from hotswap.domain.backtest import AskedRequest, BacktestReport, RecordedRequest, RecordedSample, Reply


class Backtests(Protocol):
    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        """Return the newest distinct requests that the application answered in the last 24 hours, at most `most`.

        They are spread over hours and callers. A model that must not be asked twice has none.
        """

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        """Return the newest requests that the application answered after `since` (Unix time), at most `most`.

        They are spread over callers. A model that must not be asked twice has none.
        """

    async def store(self, deployment_id: str, report: BacktestReport) -> None:
        """Store the report with the deployment; a newer report replaces it."""


class ReplicaAsker(Protocol):
    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        """Send one request to the replica at `target` (`host:port`), in its own form, marked so that nothing counts it.

        The reply says what the replica did with it. Raises Unavailable where no replica can be reached.
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
        """Return the report on these replies.

        `wanted` is how many requests should have been asked, `at` is Unix time.
        """
