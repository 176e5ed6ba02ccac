"""What the records of a model's requests keep of the features.

It is a setting of the model. A replica gets it with its application, and leaves the rest out before the record reaches
its spool, so what isn't to be kept is in no spool, stream, table or log.
"""

from dataclasses import dataclass
from enum import StrEnum

SAMPLE_RATE = 0.1


class RecordFeatures(StrEnum):
    """The requests whose features are recorded."""

    ALL = "all"
    SAMPLE = "sample"
    NONE = "none"


class Withheld(StrEnum):
    """The reason why a record doesn't have the features, or not all of them."""

    SETTING = "setting"
    """The model's `recordFeatures` is `none`."""
    SAMPLE = "sample"
    """The request isn't in the sample."""
    FIELDS = "fields"
    """The fields of `dropFields` were left out; the others are there."""
    SIZE = "size"
    """The record would have been too large."""
    SPACE = "space"
    """The replica's spool was filling, since records could not be shipped."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A model's setting: `sample_rate` is the share of requests, 0 to 1, and holds for `sample` alone.

    `drop_fields` are names of features at any depth. Those of a list are its positions: `0`, `1`, …
    """

    features: RecordFeatures = RecordFeatures.ALL
    sample_rate: float = SAMPLE_RATE
    drop_fields: tuple[str, ...] = ()

    @property
    def keeps_everything(self) -> bool:
        """Whether all features of all requests are recorded."""
        return self.features is RecordFeatures.ALL and not self.drop_fields

    @property
    def gap(self) -> str | None:
        """Say why no record has all features; None if some have."""
        if self.features is RecordFeatures.NONE:
            return self.scarcity
        return f"the model's dropFields are {', '.join(self.drop_fields[:5])}" if self.drop_fields else None

    @property
    def scarcity(self) -> str | None:
        """Say why there are fewer records with features than requests; None if there are not."""
        match self.features:
            case RecordFeatures.NONE:
                return "the model's recordFeatures is none"
            case RecordFeatures.SAMPLE:
                return f"the model's recordFeatures is sample, {self.sample_rate:g} of the requests"
        return None
