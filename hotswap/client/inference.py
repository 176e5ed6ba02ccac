"""Predictions, and what they should have been."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hotswap.client.asking import routing_headers
from hotswap.client.calls import Calls, quoted, read
from hotswap.domain.headers import REQUEST_ID_HEADER
from hotswap.schemas.responses import AsyncInferenceView, BatchPredictionView, OutcomesTaken, PredictionView

MOST_OUTCOMES = 1_000
"""In one call."""


class Inference(Calls):
    def infer(
        self,
        model: str,
        features: Sequence[Any] | Mapping[str, Any],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> PredictionView:
        """One prediction; `entity` (a user, an account) keeps its arm during a rollout.

        A `tester` is answered by the candidate whatever its weight, and by the stable where there is no candidate.
        """
        return read(
            PredictionView,
            self._transport.send(
                "POST",
                f"/api/v1/inference/{quoted(model)}",
                body={"features": features},
                headers=routing_headers(environment, version, entity, tester=tester),
                repeatable=False,
            ),
        )

    def infer_batch(
        self,
        model: str,
        instances: Sequence[Sequence[Any] | Mapping[str, Any]],
        *,
        environment: str | None = None,
        version: str | None = None,
        entity: str | None = None,
        tester: bool = False,
    ) -> BatchPredictionView:
        return read(
            BatchPredictionView,
            self._transport.send(
                "POST",
                f"/api/v1/inference/{quoted(model)}/batch",
                body={"instances": instances},
                headers=routing_headers(environment, version, entity, tester=tester),
                repeatable=False,
            ),
        )

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
    ) -> AsyncInferenceView:
        """Have one prediction (`features`) or a batch of them (`instances`) made later; `inference_status` tells it.

        Asked again under the same `request_id` it is the first request, and is answered once.
        """
        headers = routing_headers(environment, version, entity, tester=tester)
        body = {"features": features} if instances is None else {"instances": instances}
        return read(
            AsyncInferenceView,
            self._transport.send(
                "POST",
                f"/api/v1/inference/{quoted(model)}/async",
                body=body,
                headers=headers | {REQUEST_ID_HEADER: request_id or str(uuid.uuid4())},
                repeatable=True,  # it is known by that id
            ),
        )

    def inference_status(self, request_id: str) -> AsyncInferenceView:
        """What became of a request that is answered later."""
        path = f"/api/v1/inference/{quoted(request_id)}/status"
        return read(AsyncInferenceView, self._transport.send("GET", path))

    def report_outcome(
        self, request_id: str, outcome: str | float, *, observed_at: datetime | None = None
    ) -> OutcomesTaken:
        """What a prediction should have been, a label or a number; another one replaces it, the same changes nothing.

        `observed_at` has its time zone; one that was observed before the outcome already known doesn't replace it.
        """
        body = {"outcome": outcome} | ({"observedAt": observed_at.isoformat()} if observed_at is not None else {})
        path = f"/api/v1/inference/{quoted(request_id)}/outcome"
        return read(OutcomesTaken, self._transport.send("POST", path, body=body, repeatable=True))

    def report_outcomes(self, outcomes: Mapping[str, str | float]) -> OutcomesTaken:
        """The same of many requests, by their ids; as many calls as it takes, which may all be made again."""
        said = [{"requestId": request_id, "outcome": outcome} for request_id, outcome in outcomes.items()]
        accepted = 0
        for begin in range(0, len(said), MOST_OUTCOMES):
            body = {"outcomes": said[begin : begin + MOST_OUTCOMES]}
            answer = self._transport.send("POST", "/api/v1/inference/outcomes", body=body, repeatable=True)
            accepted += read(OutcomesTaken, answer).accepted
        return OutcomesTaken(accepted=accepted)
