"""`hotswap explain`: what happened to a deployment and why, in order of time."""

from collections.abc import Iterator

from hotswap.cli.console import connect, out, show_json
from hotswap.cli.options import AsJson, DeploymentArgument
from hotswap.schemas.responses import (
    AnalysisView,
    ArmView,
    ConcurrentView,
    ExplanationView,
    HappeningView,
    RuledMetricView,
)


def explain(deployment: DeploymentArgument, *, as_json: AsJson = False) -> None:
    """Show what was observed, judged and decided in a deployment, by whom and why. It works without a worker."""
    with connect() as hotswap:
        told = hotswap.deployments.explain(deployment)
    if as_json:
        show_json(told)
        return
    for line in lines(told):
        out.print(line, markup=False, soft_wrap=True)


def lines(told: ExplanationView) -> Iterator[str]:
    """Yield a line for each event, and beneath an analysis its numbers."""
    reason = f" ({told.reason})" if told.reason else ""
    before = f", before it {told.previous_version}" if told.previous_version else ""
    yield f"{told.deployment_id}: {told.model} {told.version} to {told.environment}{before}"
    yield f"is {told.status}{reason}" + (f": {told.message}" if told.message else "")
    day = None
    for each in told.happenings:
        if each.at.date() != day:
            day = each.at.date()
            yield ""
            yield f"{day} (UTC)"
        yield _line(each)
        if each.backtest is not None:
            yield from (f"            {line}" for line in each.backtest.findings)
        if each.analysis is not None:
            yield from (f"            {line}" for line in _analysis(each.analysis))


def _line(each: HappeningView) -> str:
    detail = f": {each.why}" if each.why and each.analysis is None else ""
    return f"  {each.at:%H:%M:%S}  {each.actor}: {each.what}{detail}"


def _analysis(analysis: AnalysisView) -> Iterator[str]:
    yield f"seen from {analysis.begun_at:%H:%M:%S} to {analysis.judged_at:%H:%M:%S}; {analysis.message}"
    yield f"candidate {_arm(analysis.candidate)}; stable {_arm(analysis.stable)}"
    if analysis.concurrent is not None:
        yield _concurrent(analysis.concurrent)
    for metric in analysis.metrics:
        yield _metric(metric)
    yield f"-> {analysis.led_to}" if analysis.led_to else "-> nothing has come of it yet"


def _concurrent(seen: ConcurrentView) -> str:
    detail = f"; {seen.reason}" if seen.reason else ""
    if not seen.candidate.requests:
        return f"asked again beside that: nothing{detail}"
    return f"asked again beside that: candidate {_arm(seen.candidate)}; stable {_arm(seen.stable)}{detail}"


def _metric(metric: RuledMetricView) -> str:
    rule = [
        f"{name} {value:g}"
        for name, value in (("threshold", metric.threshold), ("min", metric.minimum), ("max", metric.maximum))
        if value is not None
    ]
    numbers = [f"{name} {value:.6g}" for name, value in metric.numbers.items() if name not in {"threshold"}]
    evidence = [f"log-evidence of harm {metric.log_evidence:.2f}"] if metric.log_evidence else []
    optional = "" if metric.required else ", not required"
    return f"{metric.name} ({metric.judge}{optional}) {metric.outcome}: " + "; ".join(
        part for part in (metric.message, ", ".join([*rule, *evidence, *numbers])) if part
    )


def _arm(arm: ArmView) -> str:
    latency = [
        f"{name} {value:.1f} ms"
        for name, value in (("p50", arm.latency_p50_ms), ("p95", arm.latency_p95_ms))
        if value is not None
    ]
    refused = [f"{arm.refused} refused"] if arm.refused else []
    return ", ".join([f"{arm.errors} of {arm.requests} failed ({arm.error_rate:.2%})", *refused, *latency])
