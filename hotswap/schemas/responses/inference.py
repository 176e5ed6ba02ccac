"""Predictions, now or later, and the outcomes reported of them."""

from datetime import datetime
from typing import Any

from hotswap.domain.vocabulary import InferenceStatus
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.errors import ErrorView


class PredictionView(View):
    request_id: str
    model_name: str
    version: str
    prediction: Any
    confidence: float | None = None
    latency_ms: float | None = None
    timestamp: datetime | None = None


class BatchPredictionView(View):
    request_id: str
    model_name: str
    version: str
    predictions: list[Any]
    total_latency_ms: float | None = None


class AsyncInferenceView(View):
    """A request that is answered later: `result` once it is Completed, `error` where it is Failed or Timeout."""

    request_id: str
    model_name: str
    status: InferenceStatus
    accepted_at: datetime
    deadline_at: datetime
    completed_at: datetime | None = None
    attempts: int = 0
    result: BatchPredictionView | PredictionView | None = None
    error: ErrorView | None = None

    @property
    def is_over(self) -> bool:
        return self.status not in {InferenceStatus.PENDING, InferenceStatus.PROCESSING}


class OutcomesTaken(View):
    """The number of outcomes that were taken. The requests that they belong to may be known only later."""

    accepted: int
