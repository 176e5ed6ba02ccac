"""The backtest: recorded requests of the stable are put to the candidate, and to the stable beside it.

It asks anew where it was interrupted, and keeps the report of what it has asked last. What it can't reach (the records,
a replica of the candidate) it tries again until its deadline, and then fails: it is never passed in silence. A stable
that can't be reached holds nothing up, since its answers are on record and the candidate may be what mends it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from temporalio import activity

from activities.asking import POLL_SECONDS, ApplicationReplicas
from activities.heartbeating import heartbeat_note, heartbeating
from hotswap.domain.backtest import AT_ONCE, AskedRequest, BacktestReport, RecordedRequest, Reply, ReplyKind
from hotswap.domain.errors import Unavailable
from hotswap.messages import BacktestVersion
from hotswap.ports import Backtests, Comparison, ReplicaAsker, ServeCluster

PATIENCE_SECONDS = 20.0
"""The wait for a replica that has gone: Ray Serve starts another in its place."""

UNDER_LOAD = 100
"""The most requests that are sent again, some at a time, to compare latency under load."""
ALONE_SHARE = 0.7
"""The share of the time for sending one request after the other."""
AGAIN_SHARE = 0.85
"""The share of the time after which failed requests are no longer sent again."""
ROUNDS = 4
"""The most repeats: five failures in a row beside five answers of the stable are no chance (0.1% at most)."""
AGAIN = 400
"""The most requests that are sent to both versions again, whatever the number of failures."""


class BacktestActivities:
    def __init__(
        self,
        backtests: Backtests,
        cluster: ServeCluster,
        asker: ReplicaAsker,
        compare: Comparison,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backtests = backtests
        self._cluster = cluster
        self._asker = asker
        self._compare = compare
        self._clock = clock

    @activity.defn
    @heartbeating
    async def backtest(self, request: BacktestVersion) -> BacktestReport:
        """Ask, compare, keep the report and answer it. What follows from it is the workflow's decision."""
        heartbeat_note("reads what the stable was asked")
        recorded = await self._backtests.sample(request.stable, model=request.model, most=request.samples)
        asking = _Asking(
            ApplicationReplicas(self._cluster, self._asker, request.candidate, request.model),
            ApplicationReplicas(self._cluster, self._asker, request.stable, request.model),
            allows_non_finite=request.allows_non_finite,
        )
        asked = await asking.ask(recorded.requests, seconds=request.budget_seconds)
        report = await asyncio.to_thread(
            self._compare,
            recorded,
            asked,
            wanted=request.samples,
            tolerance=request.score_tolerance,
            at=self._clock(),
        )
        await self._backtests.store(request.deployment_id, report)
        return report


class _Asking:
    def __init__(self, candidate: ApplicationReplicas, stable: ApplicationReplicas, *, allows_non_finite: bool) -> None:
        self._candidate = candidate
        self._allows_non_finite = allows_non_finite
        self._stable = stable
        self._stable_is_there = True

    async def ask(self, requests: Sequence[RecordedRequest], *, seconds: float) -> list[AskedRequest]:
        """Send as many requests as time allows: one by one, failed ones again, then some of them a few at a time."""
        begun = time.monotonic()
        asked: list[AskedRequest] = []
        for number, request in enumerate(requests):
            if time.monotonic() - begun > ALONE_SHARE * seconds:
                break
            heartbeat_note(f"has asked {number} of {len(requests)} recorded requests")
            asked.append(await self._alone(request, candidate_first=number % 2 == 0))
        await self._ask_again(asked, until=begun + AGAIN_SHARE * seconds)
        # What either of them has not answered alone takes its time, and is known.
        fit = [each for each in range(len(asked)) if _is_answered(asked[each])][:UNDER_LOAD]
        for start in range(0, len(fit), AT_ONCE):
            if time.monotonic() - begun > seconds:
                break
            heartbeat_note(f"asks {AT_ONCE} at a time, and has asked {start} of {len(fit)} so")
            group = fit[start : start + AT_ONCE]
            together = await self._together([asked[each] for each in group], candidate_first=start // AT_ONCE % 2 == 0)
            for position, each in zip(group, together, strict=True):
                asked[position] = each
        return asked

    async def _ask_again(self, asked: list[AskedRequest], *, until: float) -> None:
        """Ask again, in rounds, what the candidate failed and the stable didn't: what fails by chance drops out.

        A round that can't be finished doesn't count, so each failure that is left was asked as often as the others.
        """
        left = AGAIN
        for number in range(1, ROUNDS + 1):
            failures = [each for each in range(len(asked)) if asked[each].is_candidates_failure]
            left -= len(failures)
            if not failures or left < 0:
                return
            found: list[AskedRequest] = []
            for each in failures:
                if time.monotonic() > until:
                    return
                heartbeat_note(
                    f"asks again what the candidate has failed, round {number}: {len(found)} of {len(failures)}"
                )
                found.append(await self._alone(asked[each].request, candidate_first=(len(found) + number) % 2 == 0))
            for each, again in zip(failures, found, strict=True):
                asked[each] = replace(asked[each], again=(*asked[each].again, again))

    async def _alone(self, request: RecordedRequest, *, candidate_first: bool) -> AskedRequest:
        """Ask both versions, in alternating order: a cache may favor the version that is asked second."""
        if candidate_first:
            mine = await self._of_candidate(request)
            return AskedRequest(request, (mine,), await self._of_stable(request))
        theirs = await self._of_stable(request)
        return AskedRequest(request, (await self._of_candidate(request),), theirs)

    async def _together(self, group: Sequence[AskedRequest], *, candidate_first: bool) -> list[AskedRequest]:
        """Ask one version and then the other, since they may share a machine."""
        requests = [each.request for each in group]

        async def of_candidate() -> list[Reply]:
            return await asyncio.gather(*map(self._of_candidate, requests))

        async def of_stable() -> list[tuple[Reply, ...]]:
            return await asyncio.gather(*map(self._of_stable, requests))

        if candidate_first:
            mine, theirs = await of_candidate(), await of_stable()
        else:
            theirs, mine = await of_stable(), await of_candidate()
        return [
            replace(each, candidate=(*each.candidate, reply), stable=(*each.stable, *other))
            for each, reply, other in zip(group, mine, theirs, strict=True)
        ]

    async def _of_candidate(self, request: RecordedRequest) -> Reply:
        """Ask the candidate; a failure that a busy moment may have caused is asked once more."""
        reply = await self._candidate.ask(request, patience=PATIENCE_SECONDS)
        if reply.kind is ReplyKind.FAILED and not reply.certain:
            reply = await self._candidate.ask(request, patience=PATIENCE_SECONDS)
        return replace(reply, may_be_null=self._allows_non_finite)

    async def _of_stable(self, request: RecordedRequest) -> tuple[Reply, ...]:
        if not self._stable_is_there:
            return ()
        try:
            return (await self._stable.ask(request, patience=2 * POLL_SECONDS),)
        except Unavailable:
            self._stable_is_there = False
            return ()


def _is_answered(asked: AskedRequest) -> bool:
    """Return whether both versions answered the request when it was asked alone."""
    return bool(asked.stable) and asked.candidate[0].kind is asked.stable[0].kind is ReplyKind.ANSWERED
