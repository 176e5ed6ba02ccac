"""Accuracy and speed of a version, by what came with its artifact: `labelled.json` and its own requests."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hotswap.domain.errors import SchemaValidationFailed, ValidationFailed
from hotswap.domain.registry import GoldenRequest
from serving.golden import is_same
from serving.runtimes import LoadedModel
from serving.schemas import FeatureSchema

MOST_ROWS = 10_000
MOST_SAMPLE_BYTES = 64 * 1024**2
BATCH = 100
MOST_CALLS, MOST_SECONDS = 100, 1.0


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of `labelled.json`: what was asked, and the true label."""

    features: Any
    label: Any


@dataclass(frozen=True, slots=True)
class SampleScore:
    """The number of rows of the sample that were answered with their label; `problem` is why it isn't known."""

    correct: int
    total: int
    problem: str | None = None


def labelled_sample(directory: Path) -> list[Labelled]:
    """Read the artifact's labelled sample: `labelled.json`, a list of {"features": ..., "label": ...}.

    An artifact may have none. Raises ValidationFailed naming `artifactPath`.
    """
    for path in sorted(directory.rglob("labelled.json")):
        if path.stat().st_size > MOST_SAMPLE_BYTES:
            raise ValidationFailed.of("artifactPath", f"labelled.json is larger than {MOST_SAMPLE_BYTES} bytes")
        try:
            rows = msgspec.json.decode(path.read_bytes(), type=list[Labelled])
        except (ValueError, RecursionError) as error:
            raise ValidationFailed.of(
                "artifactPath", f"labelled.json is not a list of objects with features and label: {error}"
            ) from None
        if len(rows) > MOST_ROWS:
            raise ValidationFailed.of("artifactPath", f"labelled.json has more than {MOST_ROWS} rows")
        return rows
    return []


def score(model: LoadedModel, schema: FeatureSchema, sample: Sequence[Labelled]) -> SampleScore:
    """Score the model on the sample. It raises nothing: a model may fail in any way."""
    correct = 0
    for begin in range(0, len(sample), BATCH):
        rows = sample[begin : begin + BATCH]
        try:
            for number, row in enumerate(rows, begin):
                schema.check(row.features, f"row {number}: features")
            answers = model.predict([row.features for row in rows])
        except SchemaValidationFailed as misfit:
            return SampleScore(correct, len(sample), misfit.message)
        except Exception as error:  # noqa: BLE001 - a model raises what it likes
            return SampleScore(correct, len(sample), f"rows {begin} to {begin + len(rows) - 1}: {str(error)[:300]}")
        correct += sum(is_same(answer.value, row.label) for answer, row in zip(answers, rows, strict=True))
    return SampleScore(correct, len(sample))


def latency_ms(model: LoadedModel, requests: Sequence[GoldenRequest]) -> float | None:
    """Return the median latency of single requests, in milliseconds; None where one of them isn't answered."""
    taken: list[float] = []
    deadline = time.perf_counter() + MOST_SECONDS
    while len(taken) < MOST_CALLS and time.perf_counter() < deadline:
        for request in requests:
            begun = time.perf_counter()
            try:
                model.predict([request.features])
            except Exception:  # noqa: BLE001 - a model raises what it likes, and the golden requests tell it
                return None
            taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken) if taken else None
