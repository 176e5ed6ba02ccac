"""What differs between two setups, as a table."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.application import ReplicaResources
from hotswap.domain.differences import Difference, Setup, differences
from hotswap.domain.recording import RecordFeatures, Recording
from hotswap.domain.vocabulary import Framework, Strategy

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "number", "minimum": 0}, "country": {"type": "string"}},
    "required": ["amount", "country"],
}
NOW = Setup(
    version="1.0.0",
    framework=Framework.ONNX,
    resources=ReplicaResources(replicas=2, gpus=0.5),
    input_schema=SCHEMA,
    output_schema={"type": "number"},
    strategy=Strategy.CANARY,
    strategy_config={"canaryPercentage": 10.0, "rollbackThresholds": {"latencyIncrease": 1.5}},
)


def schema(change: str, **properties: Any) -> Setup:
    """The input schema with some of `properties` changed, or without the one named."""
    changed = copy.deepcopy(SCHEMA)
    changed["properties"] |= properties
    if change:
        del changed["properties"][change]
    return replace(NOW, input_schema=changed)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        (NOW, []),
        (replace(NOW, version="2.0.0"), [("version", "1.0.0", "2.0.0")]),
        (replace(NOW, framework=Framework.PYTORCH), [("framework", "ONNX", "PyTorch")]),
        (
            replace(NOW, recording=Recording(RecordFeatures.NONE, drop_fields=("ssn",))),
            [("recordFeatures", "all", "none"), ("dropFields", [], ["ssn"])],
        ),
        (
            replace(NOW, resources=ReplicaResources(replicas=4, gpus=1)),
            [("resources.replicas", 2, 4), ("resources.gpus", 0.5, 1)],
        ),
        (
            schema("", amount={"type": "string", "minimum": 0}),
            [("inputSchema.properties.amount.type", "number", "string")],
        ),
        (schema("", amount={"type": "number"}), [("inputSchema.properties.amount.minimum", 0, None)]),
        (schema("", age={"type": "integer"}), [("inputSchema.properties.age", None, {"type": "integer"})]),
        (schema("country"), [("inputSchema.properties.country", {"type": "string"}, None)]),
        (replace(NOW, input_schema=SCHEMA | {"required": ["country", "amount"]}), []),
        (
            replace(NOW, input_schema=SCHEMA | {"required": ["amount"]}),
            [("inputSchema.required", ["amount", "country"], ["amount"])],
        ),
        (
            replace(NOW, output_schema={"type": ["number", "null"]}),
            [("outputSchema.type", "number", ["number", "null"])],
        ),
        (replace(NOW, strategy=Strategy.ROLLING), [("strategy", "Canary", "Rolling")]),
        (
            replace(NOW, strategy_config={"canaryPercentage": 10, "rollbackThresholds": {"latencyIncrease": 2}}),
            [("strategyConfig.rollbackThresholds.latencyIncrease", 1.5, 2)],
        ),
    ],
)
def test_each_difference_names_its_field(then: Setup, expected: list[tuple[str, Any, Any]]) -> None:
    assert differences(NOW, then) == tuple(Difference(*each) for each in expected)


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        ([{"weight": 10}, {"weight": 50}], [{"weight": 10}, {"weight": 40}], ("steps[1].weight", 50, 40)),
        (
            [{"weight": 10}],
            [{"weight": 5}, {"weight": 10}],
            ("steps", [{"weight": 10}], [{"weight": 5}, {"weight": 10}]),
        ),
        ([True], [1], ("steps", [True], [1])),
        ([1, 2], [2, 1], ("steps", [1, 2], [2, 1])),
        ([1, 2.0], [1.0, 2], None),
        (None, [], ("steps", None, [])),
    ],
)
def test_lists_are_compared_by_place_where_that_says_what_is_new(
    now: Any, then: Any, expected: tuple[str, Any, Any] | None
) -> None:
    found = differences(replace(NOW, strategy_config={"steps": now}), replace(NOW, strategy_config={"steps": then}))
    if expected is None:
        assert found == ()
    else:
        path, before, after = expected
        assert found == (Difference(f"strategyConfig.{path}", before, after),)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
schemas = st.dictionaries(st.text(max_size=3), json, max_size=4)


@pytest.mark.slow
@given(one=schemas, other=schemas)
def test_it_is_silent_of_equals_and_says_the_same_from_either_side(one: dict[str, Any], other: dict[str, Any]) -> None:
    before, after = replace(NOW, input_schema=one), replace(NOW, input_schema=other)
    assert differences(before, before) == ()
    there = {(each.path, repr(each.now), repr(each.then)) for each in differences(before, after)}
    back = {(each.path, repr(each.then), repr(each.now)) for each in differences(after, before)}
    assert there == back


def test_the_order_of_columns_is_a_difference_where_rows_are_lists() -> None:
    row = {"type": "array", "minItems": 2, "maxItems": 2}
    turned = SCHEMA | {"required": ["country", "amount"]}
    now, then = (replace(NOW, input_schema={"anyOf": [each, row]}) for each in (SCHEMA, turned))
    assert differences(now, then) == (
        Difference("inputSchema.anyOf[0].required", ["amount", "country"], ["country", "amount"]),
    )
