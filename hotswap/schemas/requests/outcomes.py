"""Reports of what predictions should have been."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
)

from hotswap.domain.outcomes import LARGEST, LONGEST_LABEL, label
from hotswap.domain.outcomes import PredictionLabel as Outcome
from hotswap.schemas.requests.base import REQUEST_ID, Body, Time


def _outcome(value: Outcome) -> Outcome:
    if not isinstance(value, str | bool) and abs(value) > LARGEST:
        raise ValueError(f"must be a number from {-LARGEST:g} to {LARGEST:g}")
    return value


OutcomeLabel = Annotated[
    StrictBool | StrictInt | StrictFloat | Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_LABEL)],
    AfterValidator(_outcome),
]


class _Outcome(Body):
    outcome: OutcomeLabel = Field(description="the label, or the number, that the prediction should have been")
    observed_at: Time | None = Field(
        None, description="when the outcome was observed; one observed before the known outcome doesn't replace it"
    )

    @property
    def label(self) -> str:
        return label(self.outcome)


class ReportOutcome(_Outcome):
    """`POST /inference/{requestId}/outcome`."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": 1, "observedAt": "2026-12-27T06:00:00Z"}})


class OutcomeOf(_Outcome):
    request_id: str = Field(pattern=REQUEST_ID, description="the requestId of the prediction")


class ReportOutcomes(Body):
    """`POST /inference/outcomes`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"outcomes": [{"requestId": "c0ffee00-0000-4000-8000-000000000000", "outcome": "malignant"}]}
        }
    )

    outcomes: list[OutcomeOf] = Field(min_length=1, max_length=1_000)
