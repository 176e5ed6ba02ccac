"""The record of a deployment in order of time: what was observed, judged and decided. Pure.

Every line comes from a stored row, and none is guessed: an analysis led to the first decision that followed
its begin, and while there is none yet, none is told. So a deployment explains itself while every worker is down.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import zip_longest

from pydantic import ValidationError

from hotswap.deployments.views import arm_view, backtest_view, concurrent_view, metric_fields
from hotswap.domain.analysis import JudgeName, Metric
from hotswap.domain.auditing import AuditAction, AuditActions
from hotswap.domain.backtest import BacktestReport, summarized
from hotswap.domain.deployments import Deployment
from hotswap.domain.history import Analysis, DeploymentEvent, Record
from hotswap.domain.verbs import BACKTEST, START
from hotswap.domain.verdict import MetricResult
from hotswap.schemas.responses import AnalysisView, ExplanationView, HappeningKind, HappeningView, RuledMetricView
from hotswap.schemas.strategy import CanaryConfig

MetricRules = Mapping[tuple[str, JudgeName], Metric]
"""The rules of the metrics, by name and judge: a first version is judged by other judges than the next."""

_WAITS = {START: "the start", BACKTEST: "what its backtest has found"}


def explanation_view(deployment: Deployment, record: Record) -> ExplanationView:
    rules = _rules(deployment)
    told = [_happening(event, record) for event in record.events if not _is_beside(event, deployment)]
    if deployment.backtest is not None:
        told.append(_backtest(deployment.backtest))
    followers = _followers(record)
    for analysis, follower in zip(record.analyses, followers, strict=True):
        told.append(_analysis(analysis, follower, rules))
    return ExplanationView(
        deployment_id=deployment.deployment_id,
        model=deployment.model,
        version=deployment.version,
        previous_version=deployment.previous_version,
        environment=deployment.environment,
        status=deployment.status,
        reason=deployment.reason,
        message=deployment.message,
        # An analysis is told right before what came of it, which has the same time.
        happenings=sorted(told, key=lambda each: (each.at, each.kind is not HappeningKind.ANALYSIS)),
    )


def _is_beside(event: DeploymentEvent, deployment: Deployment) -> bool:
    """Return whether another line tells of this event.

    Weights tell of routes, a decision tells of what was announced before it, and the report tells of a backtest.
    """
    if event.action == AuditAction.BACKTEST:
        return deployment.backtest is not None
    return event.action == AuditAction.CHANGE_ROUTE or AuditActions.SAYS.about(event.action) is not None


def _backtest(report: BacktestReport) -> HappeningView:
    seen = backtest_view(report)
    what = "the candidate was asked what the stable was asked of late"
    return HappeningView(
        at=seen.at, kind=HappeningKind.BACKTEST, actor="hotswap", what=what, why=summarized(report), backtest=seen
    )


def _happening(event: DeploymentEvent, record: Record) -> HappeningView:
    if (status := AuditActions.STATUS.about(event.action)) is not None:
        reason = event.after.get("reason")
        what = status + (f" ({reason})" if reason else "")
        return HappeningView(at=event.at, kind=HappeningKind.STATUS, actor=event.actor, what=what, why=event.reason)
    if event.action == AuditAction.WEIGHT_VERIFIED:
        weight = event.after["weight"] / 100
        return HappeningView(
            at=event.at,
            kind=HappeningKind.WEIGHT,
            actor=event.actor,
            what=f"{weight:g}% of the traffic is verified",
            why=event.reason,
            weight=weight,
        )
    if event.action == AuditAction.APPROVE and "step" in event.after:
        step = event.after["step"]
        given = next((each for each in record.approvals if each.step == step), None)
        claimed = " under a name that was not checked" if given is not None and given.is_claimed else ""
        what = f"approved {_WAITS.get(step, f'step {step}')}{claimed}"
        return HappeningView(at=event.at, kind=HappeningKind.APPROVAL, actor=event.actor, what=what, why=event.reason)
    return HappeningView(
        at=event.at, kind=HappeningKind.WORD, actor=event.actor, what=event.action, why=event.reason or _asked(event)
    )


def _asked(event: DeploymentEvent) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in event.after.items() if value is not None) or None


def _followers(record: Record) -> Iterable[DeploymentEvent | None]:
    """Yield for each analysis the first decision after it began and before the next: a status, or another weight."""
    for analysis, later in zip_longest(record.analyses, record.analyses[1:]):
        end = later.begun_at if later is not None else float("inf")
        yield next(
            (
                event
                for event in record.events
                if analysis.begun_at < event.at.timestamp() <= end and _decides(event, weight=analysis.weight)
            ),
            None,
        )


def _decides(event: DeploymentEvent, *, weight: int) -> bool:
    """Tell whether the event came of an analysis; the verification of its own weight is where it begins."""
    if event.action == AuditAction.WEIGHT_VERIFIED:
        return bool(event.after["weight"] != weight)
    return AuditActions.STATUS.about(event.action) is not None


def _analysis(analysis: Analysis, follower: DeploymentEvent | None, rules: MetricRules) -> HappeningView:
    verdict = analysis.verdict
    # What is still watched for harm after it has led to something is judged later than that.
    at = analysis.judged_at if follower is None else min(analysis.judged_at, follower.at)
    return HappeningView(
        at=at,
        kind=HappeningKind.ANALYSIS,
        actor="hotswap",
        what=f"step {analysis.step + 1} judged at {analysis.weight / 100:g}%: {verdict.outcome}",
        why=verdict.message,
        weight=analysis.weight / 100,
        analysis=AnalysisView(
            step=analysis.step + 1,
            weight=analysis.weight / 100,
            begun_at=datetime.fromtimestamp(analysis.begun_at, UTC),
            judged_at=analysis.judged_at,
            outcome=verdict.outcome,
            reason=verdict.reason,
            message=verdict.message,
            candidate=arm_view(verdict.candidate),
            stable=arm_view(verdict.stable),
            concurrent=concurrent_view(verdict.concurrent),
            metrics=[_metric(each, rules.get((each.name, each.judge))) for each in verdict.metrics],
            led_to=None if follower is None else _told(follower),
            missing_proxies=list(verdict.missing),
        ),
    )


def _told(event: DeploymentEvent) -> str:
    what = AuditActions.STATUS.about(event.action) or event.action
    if event.action == AuditAction.WEIGHT_VERIFIED:
        what = f"goes on to {event.after['weight'] / 100:g}%"
    return f"{what}: {event.reason}" if event.reason else what


def _metric(result: MetricResult, rule: Metric | None) -> RuledMetricView:
    by_bounds = rule is not None and rule.judge is JudgeName.THRESHOLD
    return RuledMetricView(
        **metric_fields(result),
        reason=result.reason,
        threshold=rule.threshold if rule is not None and not by_bounds else None,
        minimum=rule.minimum if rule is not None else None,
        maximum=rule.maximum if rule is not None else None,
        log_evidence=result.log_evidence,
    )


def _rules(deployment: Deployment) -> MetricRules:
    try:
        config = CanaryConfig.model_validate(deployment.strategy_config)
    except ValidationError:  # written by a version of HotSwap whose configuration was another
        return {}
    judged = (*config.first_policy().metrics, *config.analysis_policy().metrics)
    return {(metric.name, metric.judge): metric for metric in judged}
