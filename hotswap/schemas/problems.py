"""Pydantic's errors as callers are told them: by the names that JSON has, without the values.

The API answers with them, and the client and the command line use them for what they refuse before anything is sent.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from hotswap.domain.errors import FieldProblem, ValidationFailed
from hotswap.schemas.fields import told

MOST_DETAILS = 20


def refusal(found: Iterable[Mapping[str, Any]], *, within: str = "") -> ValidationFailed:
    """Return one error of all that was found, by fields such as `strategyConfig.canaryPercentage`.

    `within` is the field that holds what was validated.
    """
    return refused(FieldProblem(_field(problem, within), _message(problem)) for problem in found)


def refused(problems: Iterable[FieldProblem]) -> ValidationFailed:
    """Return one error of several problems; the first of them are in its message."""
    details = list(islice(problems, MOST_DETAILS))
    said = "; ".join(f"{problem.field}: {problem.message}" for problem in details[:3])
    return ValidationFailed(said + ("; ..." if len(details) > 3 else ""), *details)


def _field(problem: Mapping[str, Any], within: str) -> str:
    location = [str(part) for part in problem["loc"]]
    if problem["type"] == "json_invalid":
        return "body"
    if not within and location and location[0] in {"body", "query", "path", "header"}:
        place, *location = location
        within = "" if location else place
    return ".".join([within, *location] if within else location) or "body"


def _message(problem: Mapping[str, Any]) -> str:
    match problem["type"]:
        case "json_invalid":
            return f"is not JSON: {problem.get('ctx', {}).get('error', 'it can not be read')}"
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a known field"
        case _:
            return told(problem)
