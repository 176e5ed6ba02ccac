"""Reference distributions of features: read from what was registered with a version, or summed up from records.

A distribution's size is bounded: a sample of numbers, counts by bin, or counts of the commonest categories. A reference
whose shares are given without a count is taken as known exactly. `hotswap/analysis/drift.py` compares with it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from hotswap.domain.errors import ValidationFailed

FEATURES = 200
VALUES = 5_000
CATEGORIES = 20
"""Told apart; the rarer ones are one bin together, or their noise would be taken for drift."""

LARGEST = 1e100
LONGEST_NAME = 200

FIELD = "referenceDistribution"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Values in ascending order; `missing` counts what was none, or no number."""

    values: tuple[float, ...]
    missing: float = 0


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` has one more than `edges`: below the first, between two (the upper one included), above the last.

    `known` is how many values it was made from; infinite where only shares were told.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    known: float = math.inf
    missing: float = 0


@dataclass(frozen=True, slots=True)
class Categories:
    """Counts by name, as `text_of` gives it; `rest` counts the rarer ones together, `rare` names them."""

    counts: Mapping[str, float]
    known: float = math.inf
    missing: float = 0
    rest: float = 0
    rare: frozenset[str] = frozenset()
    is_identifier: bool = False
    """Most of its values were seen once: it tells callers apart, and has no distribution to keep."""


ReferenceDistribution: TypeAlias = Numbers | Histogram | Categories


def is_number(value: Any) -> bool:
    """Return whether it is a number within the range in which arithmetic still gives numbers; JSON may hold any."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def text_of(value: Any) -> str:
    """Return a category's name; true and false are spelled as in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)[:LONGEST_NAME]


def columns(instances: Iterable[Any]) -> dict[str, list[Any]]:
    """Return each feature's values over all instances, with None where one is missing.

    The features of a list are named 0, 1, …. Features that are lists or objects themselves, such as images, are left
    out; so is all beyond `FEATURES`.
    """
    named: list[Mapping[str, Any]] = []
    for instance in instances:
        if isinstance(instance, Mapping):
            named.append(instance)
        elif isinstance(instance, list):
            named.append({str(number): value for number, value in enumerate(instance[:FEATURES])})
        elif instance is not None:
            named.append({"0": instance})
    names = list(dict.fromkeys(name for each in named for name in each))[:FEATURES]
    found = {name: [each.get(name) for each in named] for name in names}
    return {name: values for name, values in found.items() if not any(isinstance(each, list | dict) for each in values)}


def summarized(sample: Mapping[str, Sequence[Any]]) -> dict[str, ReferenceDistribution]:
    """Make references of a sample: a feature is numeric if every value that isn't missing is a number."""
    return {name: reference for name, values in sample.items() if (reference := _summary(values[:VALUES])) is not None}


def registered(raw: Mapping[str, Any]) -> dict[str, ReferenceDistribution]:
    """Return the reference distributions of a version's `referenceDistribution`, by feature.

    Each is one of

    - `[1.5, 2.0, …]` or `{"values": […]}`: a sample, of numbers or of categories
    - `{"edges": [e1, …, ek], "counts": [k + 1 of them]}`: numbers by bin, as counts or shares
    - `{"categories": {"card": 0.7, "cash": 0.3}}`: counts or shares by category

    with `samples` (how many values shares are of) and `missing` (counted or a share, as the rest). Raises
    ValidationFailed with the feature's name.
    """
    if len(raw) > FEATURES:
        raise ValidationFailed.of(FIELD, f"has {len(raw)} features; at most {FEATURES} are watched")
    return {name: _registered(f"{FIELD}.{name}", said) for name, said in raw.items()}


def _registered(field: str, said: Any) -> ReferenceDistribution:
    if isinstance(said, list):
        said = {"values": said}
    if not isinstance(said, Mapping):
        raise ValidationFailed.of(field, "must be a list of values, or an object with values, edges or categories")
    if "values" in said:
        return _sampled(field, said["values"])
    if "edges" in said:
        return _binned(field, said)
    if "categories" in said:
        return _categorised(field, said)
    raise ValidationFailed.of(field, "needs values, edges with counts, or categories")


def _sampled(field: str, values: Any) -> ReferenceDistribution:
    if not isinstance(values, list) or any(isinstance(each, list | dict) for each in values):
        raise ValidationFailed.of(field, "values must be a list of numbers or categories")
    if len(values) > VALUES:
        raise ValidationFailed.of(field, f"has {len(values)} values; give at most {VALUES}, or edges with counts")
    if (summary := _summary(values)) is None:
        raise ValidationFailed.of(field, "has no value")
    return summary


def _binned(field: str, said: Mapping[str, Any]) -> Histogram:
    edges, counts = said["edges"], said.get("counts")
    if not isinstance(edges, list) or not edges or not all(map(is_number, edges)):
        raise ValidationFailed.of(field, "edges must be numbers")
    if any(later <= earlier for earlier, later in pairwise(edges)):
        raise ValidationFailed.of(field, "edges must ascend")
    if not isinstance(counts, list) or len(counts) != len(edges) + 1:
        raise ValidationFailed.of(field, f"counts must be one more than the edges: {len(edges) + 1}")
    missing = said.get("missing", 0)
    known = _known(field, [*counts, missing], said.get("samples"))
    return Histogram(tuple(map(float, edges)), tuple(map(float, counts)), known, float(missing))


def _categorised(field: str, said: Mapping[str, Any]) -> Categories:
    counts = said["categories"]
    if not isinstance(counts, Mapping) or not counts:
        raise ValidationFailed.of(field, "categories must be an object of counts or shares by category")
    missing = said.get("missing", 0)
    known = _known(field, [*counts.values(), missing], said.get("samples"))
    return _pooled({text_of(name): float(count) for name, count in counts.items()}, known, float(missing))


def _known(field: str, counts: Sequence[Any], samples: Any) -> float:
    if not all(is_number(count) and count >= 0 for count in counts) or not sum(counts) > 0:
        raise ValidationFailed.of(field, "counts must be numbers of at least 0, and not all of them 0")
    if samples is not None:
        if not is_number(samples) or samples < 1:
            raise ValidationFailed.of(field, "samples must be a number of at least 1")
        return float(samples)
    return math.inf if abs(sum(counts) - 1) < 0.01 else float(sum(counts))


def _summary(values: Sequence[Any]) -> ReferenceDistribution | None:
    present = [each for each in values if each is not None]
    if not present:
        return None
    missing = len(values) - len(present)
    if all(map(is_number, present)):
        return Numbers(tuple(sorted(map(float, present))), missing)
    return _pooled(Counter(map(text_of, present)), float(len(values)), missing)


def _pooled(counts: Mapping[str, float], known: float, missing: float) -> Categories:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    common, rare = ordered[:CATEGORIES], ordered[CATEGORIES:]
    once = sum(count for _, count in ordered if count == 1)
    return Categories(
        dict(common),
        known,
        missing,
        rest=sum(count for _, count in rare),
        rare=frozenset(name for name, _ in rare),
        is_identifier=len(ordered) > CATEGORIES and 2 * once > sum(counts.values()),
    )
