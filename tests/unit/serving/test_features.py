"""What doesn't fit a model's schema is told by its field and why, and what was sent isn't repeated."""

from typing import Any

import pytest

from hotswap.domain.errors import SchemaValidationFailed, ValidationFailed
from serving import codecs
from serving.runtimes.rows import NUMBER_OR_MISSING, RowColumns
from serving.schemas import FeatureSchema

ROW = RowColumns(2, ("amount", "age"), NUMBER_OR_MISSING).schema
SECRET = "4111-1111"


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"amount": 1}, ["features.age: is required"]),
        ({"amount": SECRET, "age": 1}, ["features.amount: must be a number or null"]),
        ({"amount": 1, "age": 2, "card": SECRET}, ["features.card: is no feature of the model"]),
        ({"card": SECRET}, ["features.amount: is required", "features.age: is required", "features.card: is no"]),
        ([1], ["features: must have at least 2 values"]),
        ([1, SECRET], ["features[1]: must be a number or null"]),
        ([1, 2, 3], ["features: must have at most 2 values"]),
        (SECRET, ["features: must be an object of values by name or a list"]),
        (None, ["features: must be an object of values by name or a list"]),
    ],
)
def test_a_misfit_names_its_field_and_repeats_nothing(features: Any, told: list[str]) -> None:
    with pytest.raises(SchemaValidationFailed) as refusal:
        FeatureSchema(ROW).check(features, "features")
    found = [f"{problem.field}: {problem.message}" for problem in refusal.value.details]
    assert len(found) == len(told)
    for each in told:
        assert any(problem.startswith(each) for problem in found), found
    assert SECRET not in refusal.value.message
    assert refusal.value.message.startswith(refusal.value.details[0].field + " doesn't fit the model's schema: ")


@pytest.mark.parametrize(
    ("schema", "features", "told"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 255}, 256, "features: must be at most 255"),
        ({"type": "integer"}, 1.5, "features: must be a whole number"),
        ({"enum": ["a", "b"]}, SECRET, "features: it is not one of"),
        ({"type": "string", "pattern": "^a"}, SECRET, "features: it does not match"),
    ],
)
def test_other_schemas_say_what_they_want(schema: dict[str, Any], features: Any, told: str) -> None:
    with pytest.raises(SchemaValidationFailed) as refusal:
        FeatureSchema(schema).check(features, "features")
    (problem,) = refusal.value.details
    assert f"{problem.field}: {problem.message}".startswith(told)
    assert SECRET not in refusal.value.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"features": [1, NaN]}', "JSON has no NaN and no Infinity: write null"),
        (b'{"features": {"a": -Infinity}}', "JSON has no NaN and no Infinity: write null"),
        (b'\xef\xbb\xbf{"features": [1]}', "it begins with a byte order mark"),
        (b'{"features": ["NaN", }', "not JSON"),
    ],
)
def test_what_is_no_json_is_told_with_what_to_write(body: bytes, told: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        codecs.decoded(body, dict)
    assert told in refusal.value.message
    assert ("write null" in refusal.value.message) is ("write null" in told)
