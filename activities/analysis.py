"""The watch beside a bake: judges the candidate every second, and returns early on harm.

What it saw is stored with each verdict, so a watch that is started again goes on from there: a killed worker loses
nothing, a frozen one harms nothing, and the same looks judge a past deployment again. It never decides: the workflow's
policy does. Missing or stale counts are never a pass.
"""

import asyncio
from dataclasses import replace

from temporalio import activity

from activities.acting import acting, note
from activities.looking import LOOK_SECONDS, Sources, StepSources, Unseen
from hotswap.domain.analysis import Bake
from hotswap.domain.baking import is_decided
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import Watch
from hotswap.ports import Judge, Judging, Looks


class AnalysisActivities:
    def __init__(self, sources: Sources, looks: Looks, judge: Judge) -> None:
        self._sources = sources
        self._looks = looks
        self._judge = judge

    @activity.defn
    @acting
    async def watch(self, step: Watch) -> Verdict:
        """Return on harm, when the bake has passed, or at the deadline with what is known by then."""
        subject = step.subject
        judging = self._judge(
            step.policy, weight=subject.weight, reference=step.reference, prior_evidence=step.prior_evidence
        )
        for look in await self._looks.past(subject.deployment_id, step=step.step, begun_at=step.baseline.verified_at):
            judging.add(look)
        async with self._sources.of(subject, step.policy, step.baseline) as sources:
            while True:
                verdict, now = await self._judged(step, judging, sources)
                if is_decided(
                    verdict,
                    at=now,
                    until=step.bake_until,
                    deadline=step.deadline,
                    promotes_early=step.policy.promote_early,
                ):
                    return verdict
                note(f"{verdict.outcome}: {verdict.message}")
                upcoming = (until for until in (step.bake_until, step.deadline) if until > now)
                await asyncio.sleep(min(LOOK_SECONDS, *(until - now for until in upcoming)))

    async def _judged(self, step: Watch, judging: Judging, sources: StepSources) -> tuple[Verdict, float]:
        """What is known now, on record, and when that was: by the look itself, so that a replay decides alike."""
        bake = Bake(step.step, step.baseline.verified_at, step.subject.weight, step.reference)
        try:
            look = await sources.look()
        except Unseen as why:
            at = self._sources.clock()
            verdict = judging.verdict(is_over=at >= step.bake_until)
            if verdict.outcome is not Outcome.HARM:
                verdict = replace(verdict, outcome=Outcome.INCONCLUSIVE, message=str(why), early=False)
        else:
            at = look.at
            judging.add(look)
            verdict = judging.verdict(is_over=at >= step.bake_until)
            bake = replace(bake, looks=(look,))
        await self._looks.record(step.subject.deployment_id, bake, verdict)
        return verdict, at
