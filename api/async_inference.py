"""Inference that is accepted now and answered later, by a worker that asks the replicas like any caller.

A request that was acknowledged with 202 is in the database, and will be answered, or reported as failed, by its
deadline, whatever dies meanwhile. The request's id is the caller's `x-request-id`, or follows from the caller's
`Idempotency-Key`: sent again under it, the request is the first one, and is answered once.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import ValidationError

from api.auth import CALLERS, READERS, requires
from api.context import With
from api.idempotency import KeyName
from api.parameters import ModelId, RequestId
from api.routing import GuardedRoute
from hotswap.domain.access import Principal
from hotswap.domain.errors import Unavailable
from hotswap.domain.headers import ENTITY_HEADER, ENVIRONMENT_HEADER, TESTER_HEADER, VERSION_HEADER
from hotswap.domain.inference import AcceptedInference
from hotswap.domain.vocabulary import Environment, InferenceStatus, Role
from hotswap.persistence.records.async_inference import Limits, NewInference
from hotswap.schemas.requests import AskLater
from hotswap.schemas.responses import AsyncInferenceView, BatchPredictionView, ErrorBody, ErrorView, PredictionView

router = APIRouter(prefix="/api/v1/inference", tags=["inference"], route_class=GuardedRoute)

Asker = Annotated[Principal, requires(*CALLERS)]
AskerOrReader = Annotated[Principal, requires(Role.APPLICATION, *READERS, anywhere=True)]
Leading = Annotated[str | None, Header(max_length=255, pattern=r"^[\x20-\x7e]+$")]


@router.post("/{model}/async", status_code=202)
async def infer_later(
    caller: Asker,
    parts: With,
    request: Request,
    response: Response,
    model: ModelId,
    body: AskLater,
    key: KeyName,
    x_hotswap_environment: Annotated[Environment | None, Header()] = None,
    x_hotswap_version: Leading = None,
    x_hotswap_tester: Leading = None,
    x_entity_id: Leading = None,
) -> AsyncInferenceView:
    """Accept a prediction, or a batch of them, to be made later. `Location` is the address of the answer."""
    settings = parts.settings.inference
    if settings.token_file is None:
        raise Unavailable(
            "asynchronous inference is not set up here; HOTSWAP_INFERENCE__TOKEN_FILE must name a token for it"
        )
    leading = {
        ENVIRONMENT_HEADER: x_hotswap_environment,
        VERSION_HEADER: x_hotswap_version,
        TESTER_HEADER: x_hotswap_tester,
        ENTITY_HEADER: x_entity_id,
    }
    new = NewInference(
        request_id=_derived(caller, key) if key is not None else request.state.request_id,
        model=(await parts.registry.model(model)).model.name,
        is_batch=body.is_batch,
        headers={name: value for name, value in leading.items() if value is not None},
        body=body.as_asked(),
        requested_by=caller.subject,
    )
    limits = Limits(settings.deadline, settings.most_waiting, settings.most_waiting_of_caller)
    accepted = await parts.async_inference.accept(new, limits)
    response.headers["Location"] = f"/api/v1/inference/{accepted.request_id}/status"
    return _view(accepted)


@router.get("/{request_id}/status")
async def inference_status(caller: AskerOrReader, parts: With, request_id: RequestId) -> AsyncInferenceView:
    """Return how far an asynchronous request is, and its answer or error.

    Only the caller who sent it can read it, and callers whose role as a reader counts in all teams.
    """
    sees_all = bool(caller.roles & set(READERS))
    return _view(await parts.async_inference.find(request_id, of=None if sees_all else caller.subject))


def _derived(caller: Principal, key: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hotswap:{caller.subject}/{key}"))


def _view(row: AcceptedInference) -> AsyncInferenceView:
    status = row.status
    result, error = None, None
    match status:
        case InferenceStatus.COMPLETED:
            kind = BatchPredictionView if row.is_batch else PredictionView
            result = kind.model_validate_json(row.answer or "")
        case InferenceStatus.FAILED:
            error = _error(row)
        case InferenceStatus.TIMEOUT:
            error = _error_of(row, "TIMEOUT", f"no answer came by {row.deadline_at:%FT%TZ}")
    return AsyncInferenceView(
        request_id=row.request_id,
        model_name=row.model_name,
        status=status,
        accepted_at=row.accepted_at,
        deadline_at=row.deadline_at,
        completed_at=row.completed_at,
        attempts=row.attempts,
        result=result,
        error=error,
    )


def _error(row: AcceptedInference) -> ErrorView:
    try:
        return ErrorBody.model_validate_json(row.answer or "").error
    except ValidationError:  # of something between here and the replicas that is none of ours
        return _error_of(
            row, "UNEXPECTED_ANSWER", f"what was answered is no error of HotSwap's: {row.answer or '':.200}"
        )


def _error_of(row: AcceptedInference, code: str, message: str) -> ErrorView:
    at = row.completed_at or row.deadline_at
    return ErrorView(code=code, message=message, details=[], trace_id=row.request_id, timestamp=at)
