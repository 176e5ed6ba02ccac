"""What every error is."""

from datetime import datetime

from hotswap.schemas.responses.base import View


class ProblemView(View):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ErrorView(View):
    """What every error is: `code` is for programs, `details` name the fields, `traceId` finds it in the log."""

    code: str
    message: str
    details: list[ProblemView]
    trace_id: str
    timestamp: datetime


class ErrorBody(View):
    error: ErrorView
