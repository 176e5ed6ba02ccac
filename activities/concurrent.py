"""The concurrent reference at 100%: a few of the clients' requests are put to both arms' replicas again.

It is asked by the watch beside a bake, past the proxies and marked, so no client waits for it and no figure has it. A
budget bounds it, and a worker asks a few at a time for all its watches: a machine that is busy already answers fewer.
What can't be asked is said, and is no failure of the watch: without a reference an excess is held.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from activities.asking import ApplicationReplicas
from hotswap.domain.analysis import Subject
from hotswap.domain.backtest import RecordedRequest
from hotswap.domain.concurrent import Concurrent, ReferenceBudget
from hotswap.domain.errors import HotSwapError
from hotswap.ports import Backtests, ReplicaAsker, ServeCluster

AT_ONCE = 4
"""Requests that all watches of a worker have in work together."""
MOST_READ = 20
"""Requests that are read from the records at a time."""
PAUSE_SECONDS = 2.0
"""Before records are read again that had nothing new, and before a replica is asked again that was not there."""

TURNED_OFF = "nothing is asked again, since `analysis.reference.share` is 0"
NO_RECORD = "no request to the candidate is on record yet that could be put to both"

logger = logging.getLogger(__name__)


class References:
    """Asks for all watches of a worker."""

    def __init__(self, backtests: Backtests, cluster: ServeCluster, asker: ReplicaAsker) -> None:
        self._backtests = backtests
        self._cluster = cluster
        self._asker = asker
        self._turns = asyncio.Semaphore(AT_ONCE)

    def of(self, subject: Subject, budget: ReferenceBudget, *, known: Concurrent | None) -> "RepeatedRequests":
        """Return the repeated requests of one step, which continue from what is `known` already."""
        return RepeatedRequests(
            subject,
            budget,
            known=known or Concurrent(),
            backtests=self._backtests,
            candidate=ApplicationReplicas(self._cluster, self._asker, subject.candidate, subject.model),
            stable=ApplicationReplicas(self._cluster, self._asker, subject.stable, subject.model),
            turns=self._turns,
        )


class RepeatedRequests:
    """Asks both arms of one step what clients have asked; `seen` holds their replies so far."""

    def __init__(
        self,
        subject: Subject,
        budget: ReferenceBudget,
        *,
        known: Concurrent,
        backtests: Backtests,
        candidate: ApplicationReplicas,
        stable: ApplicationReplicas,
        turns: asyncio.Semaphore,
    ) -> None:
        self.seen = known
        self._subject = subject
        self._budget = budget
        self._backtests = backtests
        self._candidate = candidate
        self._stable = stable
        self._turns = turns
        self._left: deque[RecordedRequest] = deque()
        self._tried = known.asked
        self._newest = subject.since
        self._callers: set[int] = set()
        self._nobodies = 0
        self._callers_before = known.callers or 0

    async def keep_asking(self, answered: Callable[[], int]) -> None:
        """Ask both arms within the budget.

        `answered` returns how many client requests the candidate has answered by now. A request that only one of the
        arms could be asked counts against the budget too.
        """
        if not self._budget.share:
            self._say(TURNED_OFF)
            return
        while True:
            await asyncio.sleep(1 / self._budget.per_second)
            if self._tried + 1 > self._budget.share * answered():
                continue
            try:
                if not self._left and not await self._read():
                    return
                if self._left:
                    async with self._turns:
                        await self._ask(self._left.popleft())
                    continue
                self._say(NO_RECORD)
            except HotSwapError as error:
                self._say(error.message)
            except Exception as error:
                logger.warning("the reference can't be asked", extra={"model": self._subject.model}, exc_info=True)
                self._say(f"both could not be asked: {type(error).__name__}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> bool:
        """Read the newest requests that the candidate has answered. Return False where nothing must be asked twice."""
        recorded = await self._backtests.recent(
            self._subject.candidate, model=self._subject.model, since=self._newest, most=MOST_READ
        )
        if recorded.reason is not None:
            self._say(recorded.reason)
            return False
        self._left.extend(recorded.requests)
        self._newest = max((each.at for each in recorded.requests), default=self._newest)
        return True

    async def _ask(self, request: RecordedRequest) -> None:
        """Ask both, one right after the other and by turns who is first, so that neither has the better time."""
        self._tried += 1
        if self._tried % 2 == 1:
            mine = await self._candidate.ask(request, patience=0.0)
            theirs = await self._stable.ask(request, patience=0.0)
        else:
            theirs = await self._stable.ask(request, patience=0.0)
            mine = await self._candidate.ask(request, patience=0.0)
        if request.caller is None:
            self._nobodies += 1
        else:
            self._callers.add(request.caller)
        self.seen = self.seen.after(mine, theirs, callers=self._number_of_callers())

    def _number_of_callers(self) -> int | None:
        """Return the number of known callers, or None.

        Callers that an earlier watch counted may be the same ones, so the numbers are not added.
        """
        if not self._callers and not self._callers_before:
            return None
        return max(self._callers_before, len(self._callers) + self._nobodies)

    def _say(self, reason: str) -> None:
        self.seen = replace(self.seen, reason=reason)
