"""Types of the API's answers: the API writes these, the Python client and the CLI read them.

A reader ignores what it doesn't know, so that an older client gets along with a newer server. Names in JSON are
camelCase; percentages are 0 to 100 with hundredths, times are ISO-8601 in UTC, durations are seconds.
"""

from hotswap.schemas.responses.artifacts import GarbageItemView, GarbageView, PartView, UploadView
from hotswap.schemas.responses.audit import AuditEventView, AuditPage
from hotswap.schemas.responses.backtest import BacktestPartView, BacktestView, TallyView, TimingView
from hotswap.schemas.responses.base import Item, Page, View
from hotswap.schemas.responses.deployments import (
    Accepted,
    AnswerView,
    DeploymentView,
    FreezeView,
    PauseView,
    ResourcesView,
    StepState,
    StepView,
)
from hotswap.schemas.responses.dry_run import (
    ContractChangeView,
    DifferenceView,
    DryRunView,
    GpuSumView,
    RefusalView,
    ServingView,
)
from hotswap.schemas.responses.errors import ErrorBody, ErrorView, ProblemView
from hotswap.schemas.responses.explanations import (
    AnalysisView,
    ExplanationView,
    HappeningKind,
    HappeningView,
    ReplayedStepView,
    ReplayView,
    RuledMetricView,
)
from hotswap.schemas.responses.inference import (
    AsyncInferenceView,
    BatchPredictionView,
    OutcomesTaken,
    PredictionView,
)
from hotswap.schemas.responses.metrics import (
    ClientView,
    DriftView,
    FeatureDriftView,
    LatencyView,
    MetricsView,
    QualityView,
)
from hotswap.schemas.responses.models import (
    CardView,
    LineageView,
    ModelView,
    RegistrationStatus,
    RegistrationView,
    RelativeView,
    ServedView,
    VersionView,
)
from hotswap.schemas.responses.monitoring import AlertView, MonitoringView
from hotswap.schemas.responses.proxies import ProxyView, WithdrawalView
from hotswap.schemas.responses.reconciliation import FindingView, ReconciliationView
from hotswap.schemas.responses.tokens import AccessTokenView, NewServiceTokenView, ServiceTokenView, TokenView
from hotswap.schemas.responses.validation import CheckView, OverrideView, ValidationView, VersionValidationView
from hotswap.schemas.responses.verdicts import ArmView, ConcurrentView, MetricView, VerdictView

__all__ = [
    "Accepted",
    "AccessTokenView",
    "AlertView",
    "AnalysisView",
    "AnswerView",
    "ArmView",
    "AsyncInferenceView",
    "AuditEventView",
    "AuditPage",
    "BacktestPartView",
    "BacktestView",
    "BatchPredictionView",
    "CardView",
    "CheckView",
    "ClientView",
    "ConcurrentView",
    "ContractChangeView",
    "DeploymentView",
    "DifferenceView",
    "DriftView",
    "DryRunView",
    "ErrorBody",
    "ErrorView",
    "ExplanationView",
    "FeatureDriftView",
    "FindingView",
    "FreezeView",
    "GarbageItemView",
    "GarbageView",
    "GpuSumView",
    "HappeningKind",
    "HappeningView",
    "Item",
    "LatencyView",
    "LineageView",
    "MetricView",
    "MetricsView",
    "ModelView",
    "MonitoringView",
    "NewServiceTokenView",
    "OutcomesTaken",
    "OverrideView",
    "Page",
    "PartView",
    "PauseView",
    "PredictionView",
    "ProblemView",
    "ProxyView",
    "QualityView",
    "ReconciliationView",
    "RefusalView",
    "RegistrationStatus",
    "RegistrationView",
    "RelativeView",
    "ReplayView",
    "ReplayedStepView",
    "ResourcesView",
    "RuledMetricView",
    "ServedView",
    "ServiceTokenView",
    "ServingView",
    "StepState",
    "StepView",
    "TallyView",
    "TimingView",
    "TokenView",
    "UploadView",
    "ValidationView",
    "VerdictView",
    "VersionValidationView",
    "VersionView",
    "View",
    "WithdrawalView",
]
