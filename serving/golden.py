"""Golden requests that a version must answer before it sees traffic, or one made up if it has none.

Validation tries them on the artifact and every replica tries them again while it warms up, by the same rules.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hotswap.domain.errors import SchemaValidationFailed, ValidationFailed
from hotswap.domain.registry import GoldenRequest
from hotswap.inference.records import to_json
from serving.runtimes import LoadedModel, Prediction
from serving.schemas import FeatureSchema, example

RELATIVE_TOLERANCE = 1e-4
"""Golden answers come from where the model was trained: other hardware and 32-bit floats round otherwise."""
ABSOLUTE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one request: `problem` is None if the answer was as expected; `seconds` is the model's own time."""

    problem: str | None
    seconds: float = 0.0
    answer: Prediction | None = None


def golden_requests(directory: Path) -> list[GoldenRequest]:
    """Read the artifact's own golden requests: `golden.json`, a list of {"features": ..., "prediction"?: ...}.

    An artifact may have none.
    """
    for path in sorted(directory.rglob("golden.json")):
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[GoldenRequest])
        except (ValueError, RecursionError) as error:
            raise ValidationFailed.of(
                "artifactPath", f"golden.json is not a list of objects with features: {error}"
            ) from None
    return []


def made_up_request(input_schema: dict[str, Any]) -> GoldenRequest:
    """Make up the request that stands in for golden ones: it fits the schema, and any answer is accepted.

    Raises ValidationFailed naming `artifactPath` for a schema that no runtime has made.
    """
    try:
        return GoldenRequest(example(input_schema))
    except (LookupError, TypeError, AttributeError):
        raise ValidationFailed.of(
            "artifactPath", "no request can be made up from its schema: golden.json must have one"
        ) from None


def attempt(
    model: LoadedModel, schema: FeatureSchema, request: GoldenRequest, *, allows_non_finite: bool = False
) -> Trial:
    """Answer one request, judging features and answer. Nothing is raised: a model may fail as it likes."""
    try:
        schema.check(request.features, "features")
    except SchemaValidationFailed as misfit:
        return Trial(misfit.message)
    begun = time.perf_counter()
    try:
        (prediction,) = model.predict([request.features])
    except Exception as error:  # noqa: BLE001 - a model raises what it likes
        return Trial(f"it failed: {str(error)[:300]}")
    seconds = time.perf_counter() - begun
    problem = None if allows_non_finite else problem_of(prediction)
    return Trial(problem or _answer_problem(prediction, request.prediction), seconds, prediction)


def _answer_problem(prediction: Prediction, expected: Any) -> str | None:
    answer = prediction.value
    if expected is not None and not is_same(answer, expected):
        return f"it answered {_shown(answer)} where {_shown(expected)} is expected"
    try:
        to_json(answer)
    except Exception as error:  # noqa: BLE001 - a model answers what it likes
        return f"its answer can't be written as JSON: {str(error)[:300]}"
    return None


def problem_of(prediction: Prediction) -> str | None:
    """Return what is wrong with this prediction for any request; None where a client can get it.

    JSON has no spelling for a number that isn't finite: it would leave as `null`, which looks like an answer.
    """
    if not is_finite(prediction.value):
        return f"it answered {_shown(prediction.value)}, which is no finite number"
    if not is_finite(prediction.confidence):
        return f"its confidence is {_shown(prediction.confidence)}, which is no finite number"
    return None


def is_finite(value: Any) -> bool:
    """Return whether every number in it is finite; a value that is no number counts as finite."""
    match value:
        case float():
            return math.isfinite(value)
        case list() | tuple():
            return _has_finite_sum(value) or all(map(is_finite, value))
        case dict():
            return all(map(is_finite, value.values()))
    return True


def _has_finite_sum(values: Sequence[Any]) -> bool:
    """Return whether the sum is finite, and so all of them: ten times quicker than each by itself, but not for text."""
    try:
        return math.isfinite(sum(values))
    except (TypeError, ValueError, OverflowError):
        return False


def is_same(answer: Any, expected: Any) -> bool:
    """Return whether an answer is the expected one; fractions are compared as exactly as hardware allows."""
    match answer, expected:
        case (int(), int()):
            return answer == expected
        case (int() | float(), int() | float()):
            return math.isclose(answer, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
        case (list(), list()):
            return len(answer) == len(expected) and all(map(is_same, answer, expected))
        case (dict(), dict()):
            return answer.keys() == expected.keys() and all(is_same(answer[key], expected[key]) for key in answer)
    return bool(answer == expected)


def _shown(value: Any) -> str:
    return repr(value)[:100]
