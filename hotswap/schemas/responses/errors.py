"""The format of every error."""

from datetime import datetime

from hotswap.schemas.responses.base import View


class ProblemView(View):
    """A problem with one field of a request."""

    field: str
    message: str


class ErrorView(View):
    """An error: `code` is for programs, `details` name the fields, and `traceId` finds it in the log."""

    code: str
    message: str
    details: list[ProblemView]
    trace_id: str
    timestamp: datetime


class ErrorBody(View):
    error: ErrorView
