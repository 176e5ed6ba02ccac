"""Rows of the validation report, which compare a figure with what it may be. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import ACCURACY_FACTOR, LATENCY_FACTOR, CheckName, ValidationCheck


def size(measured: int, limit: int) -> ValidationCheck:
    return ValidationCheck(CheckName.SIZE, measured <= limit, f"{measured:,} bytes, of {limit:,} allowed")


def requirements(installed: Sequence[str], lacking: Sequence[str]) -> ValidationCheck:
    """Check the requirements: those that were installed, or those of the artifact that are missing."""
    if installed:
        return ValidationCheck(CheckName.REQUIREMENTS, True, f"installed: {', '.join(installed)}"[:1000])
    if lacking:
        told = f"not as its requirements.txt asks: {', '.join(lacking)}"[:1000]
        return ValidationCheck(CheckName.REQUIREMENTS, None, told)
    return ValidationCheck(CheckName.REQUIREMENTS, None, "it asks for nothing that isn't installed")


def schemas(version: VersionRef, found: dict[str, Any]) -> ValidationCheck:
    """Check that requests that fitted at the registration still fit; the answers' descriptions are for people."""
    same = _as_stored(found["inputSchema"]) == _as_stored(version.input_schema)
    said = "as registered" if same else "the model's input schema differs from what was registered"
    return ValidationCheck(CheckName.SCHEMAS, same, said)


def golden(number: int, problems: list[str]) -> ValidationCheck:
    """Check the artifact's golden requests, `number` of them; 0 means that one was made up."""
    if number:
        failed = f"{len(problems)} of {number} failed; {problems[0]}" if problems else ""
        return ValidationCheck(CheckName.GOLDEN, not problems, failed or f"{number} answered as expected")
    if problems:
        advice = "golden.json in the artifact would try what it is meant for"
        return ValidationCheck(CheckName.GOLDEN, False, f"one made up from the schema failed; {problems[0]}; {advice}")
    return ValidationCheck(
        CheckName.GOLDEN, True, "one made up from the schema was answered; the artifact has no golden.json"
    )


def memory(measured: int, limit: int) -> ValidationCheck:
    said = f"{measured / 1e6:.0f} MB at its peak, of {limit / 1e6:.0f} MB allowed"
    return ValidationCheck(CheckName.MEMORY, measured <= limit, said)


def latency(measured: float | None, baseline: float | None) -> ValidationCheck:
    """Compare the median latency of single requests with the registered baseline, both in milliseconds."""
    if measured is None:
        return ValidationCheck(CheckName.LATENCY, None, "not measured, since a golden request failed")
    if baseline is None:
        return ValidationCheck(
            CheckName.LATENCY, None, f"{measured:.3g} ms; no baseline latencyMs was registered to compare with"
        )
    limit = baseline * LATENCY_FACTOR
    compared = (
        f"{measured:.3g} ms, of less than {limit:.3g} ms allowed ({LATENCY_FACTOR:g} x the baseline's {baseline:g})"
    )
    return ValidationCheck(CheckName.LATENCY, measured < limit, compared)


def accuracy(sample: dict[str, Any], baseline: float | None) -> ValidationCheck:
    """Compare the accuracy on the sample, a `serving.sample.SampleScore`, with the registered baseline."""
    correct, total, problem = sample["correct"], sample["total"], sample["problem"]
    if problem is not None:
        return ValidationCheck(CheckName.ACCURACY, False, f"labelled.json can't be answered: {problem}")
    if not total:
        return ValidationCheck(CheckName.ACCURACY, None, "the artifact has no labelled.json")
    measured = correct / total
    told = f"{measured:.4g} ({correct} of {total} in labelled.json)"
    if baseline is None:
        return ValidationCheck(CheckName.ACCURACY, None, f"{told}; no baseline accuracy was registered")
    limit = baseline * ACCURACY_FACTOR
    least = f"at least {limit:.4g} wanted ({ACCURACY_FACTOR:g} x the baseline's {baseline:g})"
    return ValidationCheck(CheckName.ACCURACY, measured >= limit, f"{told}, {least}")


def _as_stored(schema: dict[str, Any]) -> Any:
    """Convert numbers to one kind: PostgreSQL writes the bound 3.4e38 as an integer, rounded to a float's digits."""
    return _in_order(json.loads(json.dumps(schema), parse_int=float))


def _in_order(schema: Any) -> Any:
    """Sort the required names: they are a set, and older registrations have them in another order."""
    if isinstance(schema, list):
        return [_in_order(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: sorted(value) if key == "required" and isinstance(value, list) else _in_order(value)
        for key, value in schema.items()
    }
