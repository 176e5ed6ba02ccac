"""What a record keeps of a request and its answer, by the model's setting and by size.

The setting (`hotswap/domain/recording.py`) is about the features. A record that would be too large loses its features
first; if the predictions alone are too large, it loses these as well.

Whether a request is in the sample follows from its id alone, so each attempt at it is treated alike.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hotswap.domain.recording import RecordFeatures, Recording, Withheld
from hotswap.inference.records import to_json

MOST_BYTES = 256 * 1024
"""The most bytes of a record's features and predictions, unless the settings say otherwise."""
ABSENT = to_json(None)


@dataclass(frozen=True, slots=True)
class Kept:
    """Features and prediction as JSON, and the reason if these are not all of the features."""

    features: str
    prediction: str | None
    withheld: Withheld | None


class RecordContent:
    """Decides for one application; `most_bytes` is the most of one record's features and predictions.

    `has_spare` says whether there is room for features of so many characters.
    """

    def __init__(self, recording: Recording, *, most_bytes: int, has_spare: Callable[[int], bool]) -> None:
        self._has_spare = has_spare
        self._recording = recording
        self._dropped = frozenset(recording.drop_fields)
        self._most_bytes = most_bytes
        self.keeps_everything = recording.keeps_everything

    def of(self, instances: Sequence[Any], prediction: str | None, *, request_id: str, is_batch: bool) -> Kept:
        """Return what the record keeps; of a batch the features are a list, and of no instances they are null."""
        features, withheld = self._features(instances, request_id=request_id, is_batch=is_batch)
        answer = prediction or ""
        if _is_longer(features + answer, self._most_bytes):
            features, withheld = ABSENT, Withheld.SIZE
            prediction = None if _is_longer(answer, self._most_bytes) else prediction
        elif features != ABSENT and not self._has_spare(len(features)):
            features, withheld = ABSENT, Withheld.SPACE
        return Kept(features, prediction, withheld)

    def _features(self, instances: Sequence[Any], *, request_id: str, is_batch: bool) -> tuple[str, Withheld | None]:
        if not instances:
            return ABSENT, None
        if self._recording.features is RecordFeatures.NONE:
            return ABSENT, Withheld.SETTING
        if self._recording.features is RecordFeatures.SAMPLE and not is_sampled(
            request_id, self._recording.sample_rate
        ):
            return ABSENT, Withheld.SAMPLE
        kept = [_without(each, self._dropped) for each in instances] if self._dropped else instances
        return to_json(kept if is_batch else kept[0]), Withheld.FIELDS if self._dropped else None


def _is_longer(text: str, most_bytes: int) -> bool:
    """Return whether the text has more bytes in UTF-8, which has at most four for each character."""
    return 4 * len(text) > most_bytes and len(text.encode()) > most_bytes


def is_sampled(request_id: str, rate: float) -> bool:
    """Return whether this request is one of the share `rate`."""
    digest = hashlib.blake2b(request_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < rate * 2**64


def _without(instance: Any, dropped: frozenset[str]) -> Any:
    """Return an instance without the fields: a position of a list becomes null, so that the others keep theirs."""
    if isinstance(instance, dict):
        return _without_names(instance, dropped)
    if isinstance(instance, list | tuple):
        return [
            None if str(position) in dropped else _without_names(each, dropped)
            for position, each in enumerate(instance)
        ]
    return None if "0" in dropped else instance


def _without_names(value: Any, dropped: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without_names(each, dropped) for name, each in value.items() if name not in dropped}
    if isinstance(value, list | tuple):
        return [_without_names(each, dropped) for each in value]
    return value
