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
from hotswap.domain.analysis import Bake, NoVerdict
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
                verdict = await self._judged(step, judging, sources)
                now = self._sources.clock()
                if _is_done(step, verdict, now=now):
                    return verdict
                note(f"{verdict.outcome}: {verdict.message}")
                upcoming = (until for until in (step.bake_until, step.deadline) if until > now)
                await asyncio.sleep(min(LOOK_SECONDS, *(until - now for until in upcoming)))

    async def _judged(self, step: Watch, judging: Judging, sources: StepSources) -> Verdict:
        """What is known now, on record."""
        bake = Bake(step.step, step.baseline.verified_at, step.subject.weight, step.reference)
        is_over = self._sources.clock() >= step.bake_until
        try:
            look = await sources.look()
        except Unseen as why:
            verdict = judging.verdict(is_over=is_over)
            if verdict.outcome is not Outcome.HARM:
                verdict = replace(verdict, outcome=Outcome.INCONCLUSIVE, message=str(why), early=False)
        else:
            judging.add(look)
            verdict = judging.verdict(is_over=is_over)
            bake = replace(bake, looks=(look,))
        await self._looks.record(step.subject.deployment_id, bake, verdict)
        return verdict


def _is_done(step: Watch, verdict: Verdict, *, now: float) -> bool:
    if verdict.outcome is Outcome.HARM or now >= step.deadline:
        return True
    if verdict.outcome is Outcome.PASS:
        return now >= step.bake_until or (verdict.early and step.policy.promote_early)
    return now >= step.bake_until and verdict.action is not NoVerdict.EXTEND
