"""What the stable was asked of late, read from real rows."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from hotswap.domain.application import ArtifactRef, Desired
from hotswap.domain.backtest import RecordedRequest, TensorSpec
from hotswap.domain.recording import RecordFeatures, Recording, Withheld
from hotswap.domain.registry import Inspection, Registration
from hotswap.domain.vocabulary import ArmName, ChosenBy, Framework, InferenceStatus, RequestForm
from hotswap.persistence.analysis import backtests
from hotswap.persistence.analysis.backtests import LONGEST, PostgresBacktests
from hotswap.persistence.deployments.applications import new_row
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import DesiredApplication
from tests.fixtures.records import encoded, recorded
from tests.fixtures.rows import registrar, spec

NOW = datetime.now(UTC).timestamp()
TENSORS = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1]}], "outputs": ["y"]}'
Write = Any


@pytest.fixture
async def write(postgres_url: str) -> Write:
    async def rows(*made: dict[str, Any]) -> None:
        raw = [
            encoded(f"r{number}", **{"application": "old", "requested_at": NOW - 10, "features": f"[{number}]", **each})
            for number, each in enumerate(made)
        ]
        await recorded(postgres_url, *raw)

    return rows


async def sample(sessions: Sessions, *, most: int = 200) -> tuple[RecordedRequest, ...]:
    return (await PostgresBacktests(sessions, clock=lambda: NOW).sample("old", model="fraud", most=most)).requests


async def test_each_form_comes_as_it_was_asked_with_its_answers(sessions: Sessions, write: Write) -> None:
    await write(
        {"features": '{"a": 1}', "prediction": '"yes"', "confidence": 0.75, "entity": 7, "form": RequestForm.INSTANCE},
        {"features": "[[1], [2]]", "prediction": "[3, null]", "batch": True, "form": RequestForm.BATCH},
        {
            "features": "[[1.5], [2.5]]",
            "prediction": "[0.5, 1.5]",
            "batch": True,
            "form": RequestForm.TENSORS,
            "tensors": TENSORS,
        },
        {"features": "[4]", "prediction": "1", "confidence": None},
        {"features": "[[4]]", "prediction": "[1]", "batch": True},
    )
    found = {each.instances: each for each in map(_hashable, await sample(sessions))}
    one, batch, tensors = found[('{"a":1}',)], found[("[1]", "[2]")], found[("[1.5]", "[2.5]")]
    assert (one.form, one.answers, one.confidence, one.caller) == (RequestForm.INSTANCE, ("yes",), 0.75, 7)
    assert (batch.form, batch.answers) == (RequestForm.BATCH, (3, None))
    assert (tensors.form, tensors.answers) == (RequestForm.TENSORS, (0.5, 1.5))
    assert (tensors.inputs, tensors.outputs) == ((TensorSpec("x", "FP32", (2, 1)),), ("y",))
    older = [each.form for each in await sample(sessions) if each.instances == ([4],)]
    assert sorted(older) == [RequestForm.BATCH, RequestForm.INSTANCE], "of records that don't say how they were spelled"
    assert one.at == pytest.approx(NOW - 10)


def _hashable(request: RecordedRequest) -> RecordedRequest:
    return replace(request, instances=tuple(msgspec.json.encode(each).decode() for each in request.instances))


@pytest.mark.parametrize(
    "left_out",
    [
        {"application": "new"},
        {"requested_at": NOW - 25 * 3_600},
        {"status": InferenceStatus.FAILED, "prediction": None},
        {"status": InferenceStatus.TIMEOUT},
        {"chosen_by": ChosenBy.TESTER},
        {"arm": ArmName.SHADOW},
        {"features": "null"},
        {"features": '{"b": 1}', "withheld": Withheld.FIELDS},
        {"features": f'["{"x" * LONGEST}"]'},
        {"features": "[[1], [2]]", "prediction": "[1]", "batch": True},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_only_what_a_client_asked_and_the_stable_answered_is_asked_again(
    sessions: Sessions, write: Write, left_out: dict[str, Any]
) -> None:
    await write(left_out, {"features": "[7]"})
    assert [each.instances for each in await sample(sessions)] == [([7],)]


async def test_the_same_request_is_asked_once_with_its_newest_answer(sessions: Sessions, write: Write) -> None:
    await write(
        *({"features": "[1]", "prediction": str(age), "requested_at": NOW - 10 - age} for age in range(5)),
        {"features": "[1]", "prediction": "[9]", "batch": False, "tensors": TENSORS},
    )
    assert sorted(str(each.answers) for each in await sample(sessions)) == ["(0,)", "([9],)"]


async def test_a_sample_is_spread_over_hours_and_callers_and_of_each_the_newest(
    sessions: Sessions, write: Write
) -> None:
    loud = [{"entity": 1, "requested_at": NOW - 60 - number} for number in range(300)]
    quiet = [{"entity": 2, "requested_at": NOW - 3_000 - number} for number in range(10)]
    earlier = [{"entity": None, "requested_at": NOW - 20 * 3_600 - number} for number in range(50)]
    await write(*loud, *quiet, *earlier)
    found = await sample(sessions, most=60)
    assert Counter(each.caller for each in found) == {1: 20, 2: 10, None: 30}
    newest = {each.at for each in found if each.caller == 1}
    assert min(newest) == pytest.approx(NOW - 60 - 19)
    assert len(await sample(sessions, most=200)) == 200


async def test_a_sample_fits_into_memory(sessions: Sessions, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtests, "MOST_CHARACTERS", 2_500)
    await write(*({"features": f'["{number}{"x" * 990}"]'} for number in range(9)))
    assert len(await sample(sessions)) == 2


async def recent(sessions: Sessions, *, since: float = NOW - 60, most: int = 20) -> tuple[RecordedRequest, ...]:
    found = await PostgresBacktests(sessions, clock=lambda: NOW).recent("old", model="fraud", since=since, most=most)
    return found.requests


async def test_what_was_asked_of_late_is_the_newest_since_then_by_turns_of_callers(
    sessions: Sessions, write: Write
) -> None:
    loud = [{"entity": 1, "requested_at": NOW - 1 - number / 100} for number in range(300)]
    quiet = [{"entity": 2, "requested_at": NOW - 2.5}, {"entity": None, "requested_at": NOW - 2.4}]
    left_out = [
        {"application": "new"},
        {"requested_at": NOW - 61},
        {"status": InferenceStatus.FAILED, "prediction": None},
        {"chosen_by": ChosenBy.TESTER},
    ]
    await write(*loud, *quiet, *left_out)
    assert Counter(each.caller for each in await recent(sessions)) == {1: 18, 2: 1, None: 1}
    newest = await recent(sessions, since=NOW - 1.055)
    assert [each.caller for each in newest] == [1] * 6
    assert max(each.at for each in newest) == pytest.approx(NOW - 1)


async def test_the_same_request_may_be_asked_again_as_often_as_clients_ask_it(sessions: Sessions, write: Write) -> None:
    await write(*({"features": "[1]", "requested_at": NOW - number} for number in range(1, 5)))
    assert len(await recent(sessions)) == 4


async def test_a_model_that_must_not_be_asked_twice_is_not(sessions: Sessions, write: Write) -> None:
    await write({"features": "[7]"})
    registration = Registration(
        "fraud", "1.0.0", Framework.ONNX, "s3://m/1.tar.gz", requested_by="ann", idempotent=False
    )
    inspection = Inspection(ArtifactRef("s3://m/1.tar.gz", f"{1:064x}", 10), {"type": "array"}, {})
    await registrar(sessions).add_version(registration, inspection)
    found = await PostgresBacktests(sessions, clock=lambda: NOW).sample("old", model="fraud", most=10)
    assert found.requests == ()
    assert found.reason is not None
    assert "must not be asked twice" in found.reason
    lately = await PostgresBacktests(sessions, clock=lambda: NOW).recent("old", model="fraud", since=NOW - 60, most=10)
    assert lately == found


@pytest.mark.parametrize(
    ("recording", "told"),
    [
        (Recording(RecordFeatures.NONE), "the model's recordFeatures is none"),
        (Recording(drop_fields=("ssn", "name")), "the model's dropFields are ssn, name"),
    ],
)
async def test_a_stable_whose_features_are_not_recorded_is_said_to_have_none(
    sessions: Sessions, recording: Recording, told: str
) -> None:
    async with sessions.begin() as session:
        session.add(DesiredApplication(**new_row(Desired(replace(spec("old"), recording=recording), 1, 1))))
    found = PostgresBacktests(sessions, clock=lambda: NOW)
    for seen in (
        await found.sample("old", model="fraud", most=10),
        await found.recent("old", model="fraud", since=NOW - 60, most=10),
    ):
        assert seen.requests == ()
        assert (seen.reason or "").endswith(told)
