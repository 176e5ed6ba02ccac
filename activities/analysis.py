"""The watch beside a bake: it judges the candidate every few seconds, and returns early on harm.

Each observation is stored with its verdict, and every few seconds the state that the judges have folded of them (the
checkpoint). A watch that is restarted continues from there: a killed worker loses nothing, a frozen one harms nothing,
and the same observations judge a past deployment again. A watch never decides: the workflow's policy does. Missing or
stale counts are never a pass.

All watches of a worker, and its other activities, share one event loop. So past observations are folded a few at a
time, however many there are: otherwise the heartbeats of all of them would be missed.
"""

import asyncio
from dataclasses import replace

from temporalio import activity

from activities.heartbeating import heartbeat_note, heartbeating
from activities.observations import Before, NoObservation, Sources, StepSources
from hotswap.domain.analysis import BakeRecord, Checkpoint, Observation
from hotswap.domain.baking import concluded, is_decided, observation_interval
from hotswap.domain.proxies import AnswerCounts, Arms
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import Watch
from hotswap.ports import Judge, Judging, Observations

CHECKPOINT_SECONDS = 10.0
SLICE = 100
"""Past observations that are folded before others have their turn: some 20 ms."""


class AnalysisActivities:
    def __init__(self, sources: Sources, observations: Observations, judge: Judge) -> None:
        self._sources = sources
        self._observations = observations
        self._judge = judge

    @activity.defn
    @heartbeating
    async def watch(self, step: Watch) -> Verdict:
        """Return on harm, when the bake has passed, or at the deadline with what is known by then."""
        judging = self._judge(
            step.policy, weight=step.subject.weight, reference=step.reference, prior_evidence=step.prior_evidence
        )
        past = _Past(self._observations, judging, step)
        before = await past.catch_up()
        async with self._sources.of(step.subject, step.policy, step.baseline, before) as sources:
            while True:
                verdict, now = await self._judged(step, judging, sources, past)
                if is_decided(
                    verdict,
                    at=now,
                    until=step.bake_until,
                    deadline=step.deadline,
                    promotes_early=step.policy.promote_early,
                    begun_at=step.baseline.verified_at if step.extends else None,
                ):
                    return verdict
                heartbeat_note(f"{verdict.outcome}: {verdict.message}")
                pause = observation_interval(now - step.baseline.verified_at, step.policy)
                upcoming = (until for until in (step.bake_until, step.deadline) if until > now)
                await asyncio.sleep(min(pause, *(until - now for until in upcoming)))

    async def _judged(
        self, step: Watch, judging: Judging, sources: StepSources, past: "_Past"
    ) -> tuple[Verdict, float]:
        """Judge now, store the verdict, and return it with its time.

        The time is the observation's own, so that a replay decides alike.
        """
        observation: Observation | None = None
        try:
            observation = await sources.observe()
        except NoObservation as error:
            at = self._sources.clock()
            verdict = judging.verdict(is_over=at >= step.bake_until)
            if verdict.outcome is not Outcome.HARM:
                verdict = replace(
                    verdict, outcome=Outcome.INCONCLUSIVE, message=str(error), early=False, is_chance=False
                )
        else:
            at = observation.at
            judging.add(observation)
            verdict = judging.verdict(is_over=at >= step.bake_until)
        if step.extends:
            verdict = concluded(verdict, at=at, deadline=step.deadline)
        verdict = replace(verdict, bake_until=step.bake_until if step.extends else None)
        await past.record(verdict, observation, sources.answered)
        return verdict, at


class _Past:
    """The record of one analysis: its observations, its verdicts, and its newest checkpoint."""

    def __init__(self, observations: Observations, judging: Judging, step: Watch) -> None:
        self._observations = observations
        self._judging = judging
        self._deployment_id = step.subject.deployment_id
        self._bake = BakeRecord(step.step, step.baseline.verified_at, step.subject.weight, step.reference)
        self._folded_at = float("-inf")

    async def catch_up(self) -> Before | None:
        """Fold the stored observations, and return what the next one continues from; None where none is stored.

        It begins at the checkpoint. Where another version or another policy wrote that one, all observations are
        folded.
        """
        of, step, begun_at = self._deployment_id, self._bake.step, self._bake.begun_at
        after: float | None = None
        checkpoint = await self._observations.checkpoint(of, step=step, begun_at=begun_at)
        answered = checkpoint.answered if checkpoint is not None else None
        if checkpoint is not None and self._judging.resume(checkpoint.judges):
            after = self._folded_at = checkpoint.at
        while True:
            some = await self._observations.past(of, step=step, begun_at=begun_at, after=after, limit=SLICE)
            for observation in some:
                self._judging.add(observation)
            if len(some) < SLICE:
                last = self._judging.last
                if last is None:
                    return None
                return Before(answered, Arms(last.candidate, last.stable), self._judging.concurrent)
            after = some[-1].at
            heartbeat_note(f"goes on from what was seen before, {after - begun_at:.0f} s of it so far")
            await asyncio.sleep(0)

    async def record(
        self, verdict: Verdict, observation: Observation | None = None, answered: AnswerCounts | None = None
    ) -> None:
        """Store the verdict, the observation that it was made on, and from time to time a checkpoint.

        `answered` is what each proxy had counted by that observation.
        """
        checkpoint = None
        if observation is not None and answered is not None and observation.at - self._folded_at >= CHECKPOINT_SECONDS:
            checkpoint = Checkpoint(observation.at, self._judging.folded(), answered)
        seen = (observation,) if observation is not None else ()
        await self._observations.record(
            self._deployment_id, replace(self._bake, observations=seen), verdict, checkpoint
        )
        if checkpoint is not None:
            self._folded_at = checkpoint.at
