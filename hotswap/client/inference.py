"""Predictions, and what they should have been."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hotswap.client.calls import Call, Steps, ask, get, kind_of, post, quoted
from hotswap.client.resources import ClientResource, T, call, steps
from hotswap.domain.headers import (
    ENTITY_HEADER,
    ENVIRONMENT_HEADER,
    REQUEST_ID_HEADER,
    TESTER_HEADER,
    VERSION_HEADER,
)
from hotswap.schemas.requests import AskLater, OutcomeOf, ReportOutcome, ReportOutcomes
from hotswap.schemas.responses import AsyncInferenceView, BatchPredictionView, OutcomesTaken, PredictionView

INFERENCE = "/api/v1/inference"
MOST_OUTCOMES = 1_000
"""The most outcomes in one call."""


class Inference(ClientResource[T]):
    @call
    def infer(
        self,
        model: str,
        features: Sequence[Any] | Mapping[str, Any],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> Call[PredictionView]:
        """Ask for one prediction; all requests of one `entity` (a user, an account) keep their arm during a rollout.

        A `tester` is answered by the candidate whatever its weight, and by the stable if there is no candidate.
        """
        return Call(
            "POST",
            f"{INFERENCE}/{quoted(model)}",
            kind_of(PredictionView),
            body={"features": features},
            headers=_routing(environment, version, entity, tester=tester),
            repeatable=False,
        )

    @call
    def infer_batch(
        self,
        model: str,
        instances: Sequence[Sequence[Any] | Mapping[str, Any]],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> Call[BatchPredictionView]:
        """Ask for one prediction for each instance, in their order."""
        return Call(
            "POST",
            f"{INFERENCE}/{quoted(model)}/batch",
            kind_of(BatchPredictionView),
            body={"instances": instances},
            headers=_routing(environment, version, entity, tester=tester),
            repeatable=False,
        )

    @call
    def infer_later(
        self,
        model: str,
        *,
        features: Sequence[Any] | Mapping[str, Any] | None = None,
        instances: Sequence[Any] | None = None,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
        request_id: str | None = None,
    ) -> Call[AsyncInferenceView]:
        """Ask for one prediction (`features`) or a batch of them (`instances`) that is made later; `status` returns it.

        A repeated call with the same `request_id` is the same request, which is answered once.
        """
        headers = _routing(environment, version, entity, tester=tester)
        body = AskLater(features=features) if instances is None else AskLater(instances=list(instances))
        return Call(
            "POST",
            f"{INFERENCE}/{quoted(model)}/async",
            kind_of(AsyncInferenceView),
            body=body.to_json(),
            headers=headers | {REQUEST_ID_HEADER: request_id or str(uuid.uuid4())},
            repeatable=True,  # it is known by that id
        )

    @call
    def status(self, request_id: str) -> Call[AsyncInferenceView]:
        """Return how far a request is that is answered later, and its answer."""
        return get(AsyncInferenceView, f"{INFERENCE}/{quoted(request_id)}/status")

    @call
    def report_outcome(
        self, request_id: str, outcome: str | float, *, observed_at: datetime | None = None
    ) -> Call[OutcomesTaken]:
        """Report what a prediction should have been, a label or a number.

        Another outcome replaces it, and the same one changes nothing. `observed_at` must have a time zone; an outcome
        that was observed before the known one doesn't replace it.
        """
        body = ReportOutcome(outcome=outcome, observed_at=observed_at)
        return post(OutcomesTaken, f"{INFERENCE}/{quoted(request_id)}/outcome", body, repeatable=True)

    @steps
    def report_outcomes(self, outcomes: Mapping[str, str | float]) -> Steps[OutcomesTaken]:
        """Report the outcomes of many requests, by their ids, in as many calls as that takes; all may be repeated."""
        said = [OutcomeOf(request_id=request_id, outcome=outcome) for request_id, outcome in outcomes.items()]
        accepted = 0
        for begin in range(0, len(said), MOST_OUTCOMES):
            body = ReportOutcomes(outcomes=said[begin : begin + MOST_OUTCOMES])
            taken = yield from ask(post(OutcomesTaken, f"{INFERENCE}/outcomes", body, repeatable=True))
            accepted += taken.accepted
        return OutcomesTaken(accepted=accepted)


def _routing(environment: str | None, version: str | None, entity: str | None, *, tester: bool) -> dict[str, str]:
    """Return the headers that lead a request to one version."""
    wanted = {
        ENVIRONMENT_HEADER: environment,
        VERSION_HEADER: version,
        ENTITY_HEADER: entity,
        TESTER_HEADER: "true" if tester else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}
