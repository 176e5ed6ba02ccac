"""The distance of recent requests from their reference: records are read as columns, and compared. Pure.

The reference is the one registered with a version, of its training, else the requests before. No feature's
value is kept, only distances.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hotswap.analysis.drift import FeatureDrift, compare, furthest
from hotswap.domain.distributions import VALUES, ReferenceDistribution, columns, registered, summarized
from hotswap.domain.recording import Recording

TRAINING, PAST = "training", "past"


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison. If nothing could be compared, `message` says why, and there are no features."""

    reference: str
    samples: int
    message: str
    distance: float | None = None
    features: Mapping[str, FeatureDrift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Instances of one application, and what they are compared with: a registered reference, else earlier instances.

    `recording` says what its records keep of the features. A feature that is dropped isn't compared.
    """

    recent: Sequence[str]
    training: Mapping[str, Any]
    past: Sequence[str]
    recording: Recording = field(default_factory=Recording)


def compared(sampled: Sampled, *, least: int, alpha: float) -> Compared:
    sample = _columns(sampled.recent)
    because = f": {sampled.recording.scarcity}" if sampled.recording.scarcity is not None else ""
    samples = max(map(len, sample.values()), default=0)
    reference: Mapping[str, ReferenceDistribution]
    if sampled.training:
        source, reference = TRAINING, registered(sampled.training)
    else:
        past = _columns(sampled.past)
        known = max(map(len, past.values()), default=0)
        source, reference = PAST, summarized(past)
        if known < least:
            problem = f"no training reference, and {known} records from before are fewer than {least}{because}"
            return Compared(source, samples, problem)
    if samples < least:
        return Compared(source, samples, f"{samples} records with features are fewer than {least}{because}")
    dropped = sampled.recording.drop_fields
    features = compare({name: each for name, each in reference.items() if name not in dropped}, sample)
    if not features:
        return Compared(source, samples, "no recorded feature in common with the reference")
    name, distance = furthest(features, alpha=alpha)
    message = f"{name} is {distance:.2f} from its {source} reference, the furthest of {len(features)} features"
    return Compared(source, samples, message, distance, features)


def _columns(records: Sequence[str]) -> dict[str, list[Any]]:
    """Return the features of at most `VALUES` instances; a batch's record has a list of them."""
    instances: list[Any] = []
    for record in records:
        with suppress(msgspec.DecodeError, RecursionError):
            instances += msgspec.json.decode(record)
        if len(instances) >= VALUES:
            break
    return columns(instances[:VALUES])
