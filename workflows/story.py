"""The story that the Temporal Web UI tells of a deployment, in Markdown. Pure; lists, since tables lose their borders.

Kept far below the 10 KB at which the details get slow: the newest notes only.
"""

from collections.abc import Sequence

from hotswap.domain.backtest import BacktestReport, findings, summarised
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import Rollout
from hotswap.domain.verdict import ArmFigures, Verdict

MOST_NOTES = 12


def summary(model: str, version: str, environment: str) -> str:
    return f"{model} {version} to {environment}"


def details(
    *,
    status: DeploymentStatus,
    message: str,
    backtest: BacktestReport | None = None,
    rollout: Rollout | None,
    verified_weight: int,
    notes: Sequence[str],
) -> str:
    lines = [f"## {status}", "", message, "", f"Verified traffic: **{verified_weight / 100:g}%**"]
    if backtest is not None:
        lines += ["", "### Backtest", "", *(f"- {each}" for each in (summarised(backtest), *findings(backtest)))]
    if rollout is not None:
        lines += ["", "### Steps", "", *(_step(rollout, position) for position in range(len(rollout.steps)))]
        if rollout.verdict is not None:
            lines += ["", "### Last verdict", "", *_verdict(rollout.verdict)]
    if notes:
        lines += ["", "### Notes", "", *(f"- {note}" for note in notes[-MOST_NOTES:])]
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
