"""What records say of drift, without a database: which measure they are held to, and when there is none."""

import json
import random

import pytest

from hotswap.analysis.drift_of_records import PAST, TRAINING, Compared, Sampled, compared
from hotswap.domain.recording import RecordFeatures, Recording

CHANCE = random.Random(7)
TRAINED = {"amount": {"edges": [-1, 0, 1], "counts": [0.1587, 0.3413, 0.3413, 0.1587]}}


def records(number: int, *, around: float = 0.0, name: str = "amount") -> list[str]:
    return [json.dumps([{name: CHANCE.gauss(around, 1)}]) for _ in range(number)]


def look(sampled: Sampled) -> Compared:
    return compared(sampled, least=200, alpha=0.01)


def test_what_was_registered_is_the_measure_before_what_was_asked_before() -> None:
    assert look(Sampled(records(300), TRAINED, records(300))).reference == TRAINING
    assert look(Sampled(records(300), {}, records(300))).reference == PAST


@pytest.mark.parametrize("training", [TRAINED, {}])
def test_what_moved_away_is_far_and_what_did_not_is_near(training: dict[str, object]) -> None:
    moved = look(Sampled(records(300, around=2.0), training, records(300)))
    stayed = look(Sampled(records(300), training, records(300)))
    assert moved.distance is not None
    assert stayed.distance is not None
    assert moved.distance > 0.25 > stayed.distance
    assert moved.message.startswith("amount is ")


@pytest.mark.parametrize(
    ("sampled", "why"),
    [
        (Sampled(records(199), TRAINED, []), "199 records with features are fewer than 200"),
        (Sampled(records(300), {}, records(199)), "no training reference, and 199 records from before are fewer"),
        (Sampled(records(300, name="other"), {}, []), "no training reference, and 0 records from before are fewer"),
        (Sampled(["no JSON", "[" * 5_000], TRAINED, []), "0 records with features are fewer than 200"),
    ],
)
def test_where_nothing_can_be_compared_it_says_why(sampled: Sampled, why: str) -> None:
    found = look(sampled)
    assert (found.distance, dict(found.features)) == (None, {})
    assert found.message.startswith(why)


def test_a_feature_that_is_not_recorded_has_not_drifted() -> None:
    both = {**TRAINED, "ssn": {"categories": {"a": 0.5, "b": 0.5}}}
    assert look(Sampled(records(300), both, [])).message.startswith("ssn is "), "it was there, and isn't any more"
    found = look(Sampled(records(300), both, [], Recording(drop_fields=("ssn",))))
    assert (list(found.features), found.distance is not None and found.distance < 0.25) == (["amount"], True)
    nothing = look(Sampled(records(300), TRAINED, [], Recording(drop_fields=("amount",))))
    assert (nothing.distance, nothing.message) == (None, "no recorded feature in common with the reference")


@pytest.mark.parametrize("training", [TRAINED, {}])
def test_features_that_are_not_recorded_are_said_to_be_missing(training: dict[str, object]) -> None:
    none = look(Sampled([], training, [], Recording(RecordFeatures.NONE)))
    assert none.distance is None
    assert none.message.endswith("0 records with features are fewer than 200: the model's recordFeatures is none") or (
        none.message.endswith("0 records from before are fewer than 200: the model's recordFeatures is none")
    )
    some = look(Sampled(records(20), training, records(20), Recording(RecordFeatures.SAMPLE, 0.05)))
    assert some.message.endswith("fewer than 200: the model's recordFeatures is sample, 0.05 of the requests")
