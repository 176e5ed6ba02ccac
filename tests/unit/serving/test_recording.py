"""What a replica's records keep of the features, and what reaches neither its spool nor its log."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hotswap.domain.recording import RecordFeatures, Recording, Withheld
from serving import inference
from serving.recording import MOST_BYTES, Kept, RecordContent, is_sampled
from serving.runtimes import Prediction
from tests.unit.serving.replica import PATH, FakeModel, Replica

SECRET = "078-05-1120"


class Echo(FakeModel):
    """A model that takes any features, and quotes them where it fails."""

    def __init__(self, answer: Any = 1.0) -> None:
        super().__init__({})
        self._answer = answer

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        if "fails" in str(instances):
            raise ValueError(f"can't read {instances}")
        return [Prediction(self._answer, None) for _ in instances]


def replica(directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Replica:
    found = Replica(directory, settings.pop("model", None) or Echo(), **settings)
    monkeypatch.setattr(inference, "_engine", found.engine)
    return found


def kept(recording: Recording, *instances: Any, request_id: str = "r", is_batch: bool = False) -> Kept:
    content = RecordContent(recording, most_bytes=MOST_BYTES, has_spare=lambda _: True)
    return content.of(instances, "1", request_id=request_id, is_batch=is_batch)


def test_all_features_are_kept_unless_the_model_says_otherwise() -> None:
    assert kept(Recording(), {"a": 1}) == Kept('{"a":1}', "1", None)
    assert kept(Recording(), [1], [2], is_batch=True) == Kept("[[1],[2]]", "1", None)
    assert kept(Recording()) == Kept("null", "1", None), "of a request that couldn't be read"


def test_no_features_are_kept_where_the_model_says_none() -> None:
    assert kept(Recording(RecordFeatures.NONE), {"a": 1}) == Kept("null", "1", Withheld.SETTING)
    assert kept(Recording(RecordFeatures.NONE), [1], [2], is_batch=True) == Kept("null", "1", Withheld.SETTING)


def test_a_sample_has_its_share_and_each_request_is_in_it_or_not() -> None:
    recording = Recording(RecordFeatures.SAMPLE, 0.1)
    chosen = {f"request-{number}" for number in range(10_000) if is_sampled(f"request-{number}", 0.1)}
    assert 850 < len(chosen) < 1150
    for request_id in ("request-0", "request-1", *sorted(chosen)[:5]):
        expected = (None, "[1]") if request_id in chosen else (Withheld.SAMPLE, "null")
        found = kept(recording, [1], request_id=request_id)
        assert (
            (found.withheld, found.features)
            == expected
            == (
                (again := kept(recording, [1], request_id=request_id)).withheld,
                again.features,
            )
        )
    smaller = {each for each in chosen if is_sampled(each, 0.05)}
    assert smaller == {f"request-{number}" for number in range(10_000) if is_sampled(f"request-{number}", 0.05)}
    assert all(is_sampled(each, 1.0) for each in ("", "\ud800", *chosen))


@pytest.mark.parametrize(
    ("features", "left"),
    [
        ({"ssn": SECRET, "amount": 3}, {"amount": 3}),
        ({"amount": 3}, {"amount": 3}),
        ({"person": {"ssn": SECRET, "age": 40}}, {"person": {"age": 40}}),
        ({"people": [{"ssn": SECRET}, {"age": 2}]}, {"people": [{}, {"age": 2}]}),
        ([1, SECRET, 3], [1, None, 3]),
        ([1], [1]),
        ([{"ssn": SECRET}, 2], [{}, None]),
    ],
)
def test_dropped_fields_are_left_out_at_any_depth(features: Any, left: Any) -> None:
    found = kept(Recording(drop_fields=("ssn", "1")), features)
    assert (json.loads(found.features), found.withheld) == (left, Withheld.FIELDS)


def test_the_only_value_is_dropped_by_its_position() -> None:
    assert kept(Recording(drop_fields=("0",)), SECRET) == Kept("null", "1", Withheld.FIELDS)


@pytest.mark.parametrize(
    "recording", [Recording(RecordFeatures.NONE), Recording(drop_fields=("ssn",))], ids=["none", "dropped"]
)
@pytest.mark.parametrize("word", ["works", "fails"])
async def test_what_is_dropped_is_in_no_spool_and_no_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    recording: Recording,
    word: str,
) -> None:
    seen = replica(tmp_path, monkeypatch, recording=recording)
    instance = {"ssn": SECRET, "word": word}
    with caplog.at_level(logging.DEBUG):
        await seen.send({"features": instance})
        await seen.send({"instances": [instance, instance]}, f"{PATH}/batch")
        await seen.send({"features": instance, "sn": SECRET})
    assert len(seen.records) == 3
    assert not any(SECRET.encode() in each for each in seen.spooled)
    assert SECRET not in " ".join(str(vars(each)) for each in caplog.records)
    told = [vars(each)["error"] for each in caplog.records if each.getMessage() == "the model failed"]
    assert told == (["ValueError", "ValueError"] if word == "fails" else [])


async def test_a_log_quotes_the_model_where_everything_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await replica(tmp_path, monkeypatch).send({"features": "fails"})
    assert [vars(each)["error"] for each in caplog.records] == ["can't read ['fails']"]


async def test_a_record_that_is_too_large_is_kept_without_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replica(tmp_path, monkeypatch, record_max_bytes=2_000)
    status, _ = await seen.send({"features": "x" * 2_000}, x_request_id="large")
    await seen.send({"features": "ä" * 1_001}, x_request_id="in bytes")
    await seen.send({"features": "x" * 1_900}, x_request_id="small")
    assert status == 200
    found = {record.request_id: (record.withheld, len(record.features), record.prediction) for record in seen.records}
    assert found == {
        "large": (Withheld.SIZE, 4, "1.0"),
        "in bytes": (Withheld.SIZE, 4, "1.0"),
        "small": (None, 1_902, "1.0"),
    }


async def test_predictions_that_are_too_large_are_left_out_after_the_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replica(tmp_path, monkeypatch, model=Echo("y" * 3_000), record_max_bytes=2_000)
    status, answer = await seen.send({"features": "x"})
    assert (status, len(answer["prediction"])) == (200, 3_000)
    (record,) = seen.records
    assert (record.withheld, record.features, record.prediction, record.status) == (
        Withheld.SIZE,
        "null",
        None,
        "Completed",
    )


async def test_a_spool_that_is_filling_loses_features_before_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replica(tmp_path, monkeypatch, spool_max_bytes=20_000)
    for _ in range(20):
        assert (await seen.send({"features": "x" * 1_000}))[0] == 200
    found = seen.records
    reasons = [record.withheld for record in found]
    assert len(found) == 20, "no record is dropped"
    whole = reasons.count(None)
    assert 6 <= whole <= 9
    assert reasons == [None] * whole + [Withheld.SPACE] * (20 - whole)


async def test_a_record_that_has_no_room_with_its_features_has_some_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replica(tmp_path, monkeypatch, spool_max_bytes=20_000)
    for _ in range(2):
        await seen.send({"features": "x" * 9_000})
    assert [(record.withheld, len(record.features)) for record in seen.records] == [(None, 9_002), (Withheld.SPACE, 4)]
