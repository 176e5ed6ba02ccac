"""Figures of a model over a time, and the distance of its features from their reference."""

from datetime import datetime

from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses.base import View


class LatencyView(View):
    """Latencies in milliseconds; each is null if nothing was measured."""

    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ClientView(View):
    """The answers that clients got, counted by the proxies, including those that no replica gave.

    `fellBack` counts those that a version failed and its stable answered in its place; each is one of `failed`. The
    latencies are bounds: no more than half of the answers took longer than `p50`.
    """

    total: int
    failed: int
    refused: int
    fell_back: int
    latency_ms: LatencyView


class FeatureDriftView(View):
    """The drift of a feature. `distance` is the larger of PSI and KS statistic that chance doesn't explain.

    The p-values say how well chance explains it. `ks` is null for categories.
    """

    kind: str
    samples: int
    distance: float
    is_drifted: bool
    psi: float
    psi_p: float
    ks: float | None
    ks_p: float | None


class DriftView(View):
    """The distance of an active version's requests from its `reference`: its training data, or its own past.

    `distance` (of the feature that is the furthest) and `isDrifted` are null if they aren't known; `message` says why.
    """

    model: str
    version: str
    environment: Environment
    at: datetime
    since: datetime
    reference: str
    samples: int
    distance: float | None
    is_drifted: bool | None
    message: str
    features: dict[str, FeatureDriftView]


class QualityView(View):
    """Quality by the outcomes known so far; null if nothing is known. Precision, recall and F1 are macro means."""

    outcomes: int
    precision: float | None
    recall: float | None
    f1: float | None
    mae: float | None
    rmse: float | None


class MetricsView(View):
    """The figures of a model, or of one version of it, over `[begin, end)`, without shadows' answers.

    By the replicas' records: `total` is `succeeded`, `failed` (the model's fault) and `refused` (the request's), a
    batch being one; `successRate` leaves out what was refused. `latencyMs` is the time in the replica. `drift` is
    the newest report on the active version, null if there is none yet.
    """

    model_id: str
    model: str
    environment: Environment
    version: str | None
    begin: datetime
    end: datetime
    total: int
    succeeded: int
    failed: int
    refused: int
    success_rate: float | None
    requests_per_second: float
    latency_ms: LatencyView
    confidence: float | None
    prediction: float | None
    """The mean of the predictions, where they are numbers."""
    clients: ClientView
    accuracy: float | None
    quality: QualityView
    drift: DriftView | None
