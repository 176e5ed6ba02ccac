"""Predictions, the outcomes reported of them, and the token that either needs."""

from datetime import datetime
from typing import Any

from hotswap.views.base import View


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


class OutcomesTaken(View):
    """How many outcomes were taken; what they belong to shows later."""

    accepted: int


class TokenView(View):
    """`expiresIn` in seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
