"""The details that the Temporal Web UI shows of a deployment, in Markdown.

Pure. Lists, since tables lose their borders there; and far below the 10 KB at which the details get slow, so it has the
newest notes only.
"""

from hotswap.domain.backtest import findings, summarized
from hotswap.domain.policy import Rollout
from hotswap.domain.verdict import ArmFigures, Verdict
from workflows.deployment.state import Progress

MOST_NOTES = 12


def details(progress: Progress, *, verified_weight: int) -> str:
    """Describe where the deployment is, its backtest, its steps, the last verdict and the newest notes."""
    lines = [f"## {progress.status}", "", progress.message, "", f"Verified traffic: **{verified_weight / 100:g}%**"]
    if (report := progress.backtest) is not None:
        lines += ["", "### Backtest", "", *(f"- {each}" for each in (summarized(report), *findings(report)))]
    if (rollout := progress.rollout) is not None:
        lines += ["", "### Steps", "", *(_step(rollout, position) for position in range(len(rollout.steps)))]
        if rollout.verdict is not None:
            lines += ["", "### Last verdict", "", *_verdict(rollout.verdict)]
    if progress.notes:
        lines += ["", "### Notes", "", *(f"- {note}" for note in progress.notes)]
    return "\n".join(lines)


def _step(rollout: Rollout, position: int) -> str:
    step = rollout.steps[position]
    text = f"{step.weight / 100:g}%, bake {step.bake_seconds:g} s"
    if position < rollout.position:
        return f"- {text}: done"
    if position > rollout.position:
        return f"- {text}"
    return f"- **{text}: {'verified, baking' if rollout.weight_verified_at else 'being set'}**"


def _verdict(verdict: Verdict) -> list[str]:
    return [
        f"- **{verdict.outcome}**: {verdict.message}",
        f"- candidate: {_figures(verdict.candidate)}",
        f"- stable: {_figures(verdict.stable)}",
    ]


def _figures(arm: ArmFigures) -> str:
    latency = f", median {arm.latency_p50_ms:.2f} ms" if arm.latency_p50_ms is not None else ""
    return f"{arm.requests} requests, {arm.errors} failed ({arm.error_rate:.2%}){latency}"
