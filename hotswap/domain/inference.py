"""Inference that is answered later."""

from dataclasses import dataclass
from datetime import datetime

from hotswap.domain.vocabulary import InferenceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedInference:
    """A request that was accepted, and its answer: a prediction or an error, as a replica or Envoy gave it.

    `due_at` is when it is asked (again), None at its end.
    """

    request_id: str
    model_name: str
    is_batch: bool
    requested_by: str
    status: InferenceStatus
    attempts: int
    accepted_at: datetime
    deadline_at: datetime
    due_at: datetime | None
    completed_at: datetime | None
    answer: str | None
