"""What narrows a contract between two versions, and in which words; of any schemas: test_contract_of_any_schemas.py."""

import copy
from typing import Any

import pytest

from hotswap.domain.contract import (
    NON_FINITE,
    ContractChange,
    contract_changes,
    input_changes,
    narrowing,
    output_changes,
)
from serving.runtimes.rows import DIALECT, NUMBER_OR_MISSING
from tests.unit.feature_schemas import FLOAT32, FLOAT64, INT32, INT64, NUMBER, object_of, row, tensor, tensors, unnamed


def told(changes: tuple[ContractChange, ...]) -> list[str]:
    return [f"{change.field}: {change.message}" for change in changes]


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (row("a", "b"), row("a", "b")),
        (row("a", "b"), row("a", "b", value=NUMBER_OR_MISSING)),
        (unnamed(2), row("a", "b")),
        (tensor(FLOAT32, 3), tensor(FLOAT64, 3)),
        (tensor(INT32, 3), tensor(INT64, 3)),
        (tensor(INT32, 3), tensor(FLOAT64, 3)),
        (tensor(FLOAT32, 3), tensor(FLOAT32, None)),
        (tensor(FLOAT32, 3), unnamed(3)),
        (tensors(a=INT32, b=FLOAT32), tensors(b=FLOAT64, a=FLOAT64)),
        (object_of("a", a=NUMBER, more=False), object_of(a=NUMBER, b={"type": "string"}, more=False)),
        (object_of("a", a=NUMBER), object_of(a=NUMBER)),
        ({"enum": ["x", "y"]}, {"type": "string", "enum": ["z", "y", "x"], "title": "letters"}),
        ({"enum": ["x", "y"]}, {"type": "string", "minLength": 1, "maxLength": 1}),
        ({"enum": [1, 2.0]}, {"type": "integer", "minimum": 1, "maximum": 2}),
        ({"const": None}, {"type": ["string", "null"]}),
        ({"type": "boolean"}, {"enum": [False, True]}),
        ({"minimum": 1, "type": "number"}, {"exclusiveMinimum": 0, "type": "number"}),
        (NUMBER, {}),
        (NUMBER, {"anyOf": [True, {"type": "string"}]}),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a", "description": "begins with a"}),
        ({"type": ["integer", "null"]}, {"anyOf": [{"type": "null"}, NUMBER]}),
        ({"allOf": [{"minimum": 1}]}, {"allOf": [{"minimum": 1}], "title": "x"}),
        ({"$ref": "#/$defs/a", "$defs": {"a": NUMBER}}, {"$ref": "#/$defs/a", "$defs": {"a": NUMBER}}),
        ({"type": "array", "prefixItems": [NUMBER, NUMBER], "items": False}, {"type": "array", "maxItems": 2}),
    ],
)
def test_what_takes_all_that_the_stable_takes_narrows_nothing(now: dict[str, Any], then: dict[str, Any]) -> None:
    assert input_changes(now, then) == ()


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        (
            unnamed(12),
            unnamed(13),
            ["features: the stable takes lists of 12, the candidate takes lists of 13"],
        ),
        (
            row("a", "b"),
            row("a", "b", "c"),
            [
                "features: the candidate requires c, which the stable does without",
                "features: the stable takes lists of 2, the candidate takes lists of 3",
            ],
        ),
        (
            row("a", "b", "c"),
            row("a", "c"),
            [
                "features: the stable takes b, which the candidate doesn't know",
                "features: the stable takes lists of 3, the candidate takes lists of 2",
            ],
        ),
        (
            row("a", "b"),
            row("b", "a"),
            [
                "features: lists are taken by position, and the columns have another order: the stable's is a, b, the "
                "candidate's b, a"
            ],
        ),
        (
            row("a", "b"),
            unnamed(2),
            ["features: the stable takes values by name, the candidate takes only lists"],
        ),
        (
            unnamed(2, NUMBER_OR_MISSING),
            unnamed(2),
            ["features[*]: the stable takes null, the candidate takes only numbers"],
        ),
        (
            tensors(a=FLOAT32, b=FLOAT32),
            tensors(a=INT64, b=FLOAT32),
            ["features.a: the stable takes numbers, the candidate takes only whole numbers"],
        ),
        (
            tensor(INT64, 2),
            tensor(INT32, 2),
            [
                "features[*]: the stable takes at least -9.22337e+18, the candidate takes at least -2.14748e+09",
                "features[*]: the stable takes at most 9.22337e+18, the candidate takes at most 2.14748e+09",
            ],
        ),
        (
            {"type": "string"},
            {"enum": ["x", "y"]},
            ["features: the stable takes any text, the candidate takes only x, y"],
        ),
        (
            {"enum": ["x", "y", None]},
            {"enum": ["x"]},
            [
                "features: the stable takes null, the candidate takes only x",
                "features: the stable takes y, the candidate takes only x",
            ],
        ),
        ({"enum": [True]}, {"enum": [1]}, ["features: the stable takes true, the candidate takes only 1"]),
        (
            {},
            NUMBER,
            [
                "features: the stable takes null, true and false, text, lists and values by name, the candidate takes "
                "only numbers"
            ],
        ),
        (
            {"type": "string", "maxLength": 9},
            {"type": "string", "minLength": 2, "maxLength": 5},
            [
                "features: the stable takes text of 0 or more characters, the candidate takes of at least 2",
                "features: the stable takes text of up to 9 characters, the candidate takes of at most 5",
            ],
        ),
        (
            {"type": "string"},
            {"type": "string", "pattern": "^a"},
            ["features: the candidate takes only what `pattern` says, which can't be compared"],
        ),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": NUMBER}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
            ["features: the two schemas differ and can't be compared: one refers to another schema"],
        ),
        (
            object_of(a=NUMBER),
            object_of(a=NUMBER, more=False),
            ["features: the stable takes any other name, which the candidate doesn't know"],
        ),
        (
            object_of(a={"type": "array", "items": NUMBER_OR_MISSING}),
            object_of(a={"type": "array", "items": NUMBER}),
            ["features.a[*]: the stable takes null, the candidate takes only numbers"],
        ),
        (
            {"type": "array", "prefixItems": [NUMBER, NUMBER]},
            {"type": "array", "prefixItems": [NUMBER, {"type": "integer"}]},
            ["features[1]: the stable takes numbers, the candidate takes only whole numbers"],
        ),
        (NUMBER, False, ["features: the stable takes numbers, the candidate takes nothing"]),
    ],
)
def test_what_the_candidate_refuses_is_said_in_words(now: Any, then: Any, expected: list[str]) -> None:
    found = input_changes(now, then)
    assert sorted(told(found)) == sorted(expected)
    assert all(change.narrows for change in found)


def outputs(*named: tuple[str, str, list[int]], **said: Any) -> dict[str, Any]:
    listed = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in named]
    return {**DIALECT, "title": "prediction", **said, "x-outputs": listed}


LABEL = ("label", "int64", [-1])


@pytest.mark.parametrize(
    ("now", "then", "expected", "narrows"),
    [
        (outputs(LABEL), outputs(LABEL, description="another model"), [], False),
        (outputs(LABEL, **{NON_FINITE: True}), outputs(LABEL), [], False),
        (
            outputs(LABEL),
            outputs(LABEL, **{NON_FINITE: True}),
            ["prediction: the candidate may answer null for a number, which the stable never does"],
            True,
        ),
        (
            outputs(("output_label", "int64", [-1])),
            outputs(LABEL),
            [
                "outputs.output_label: the stable answers the output output_label, which the candidate doesn't: it "
                "answers label",
                "outputs.label: the candidate answers this output, the stable doesn't",
            ],
            True,
        ),
        (
            outputs(LABEL),
            outputs(("label", "string", [-1])),
            ["outputs.label: the type of this output is int64 of the stable, string of the candidate"],
            True,
        ),
        (
            outputs(("scores", "float32", [-1, 3])),
            outputs(("scores", "float32", [-1, 4])),
            ["outputs.scores: the shape of this output is [-1, 3] of the stable, [-1, 4] of the candidate"],
            True,
        ),
        (
            {**DIALECT, "description": "tree"},
            outputs(LABEL, description="forest"),
            ["prediction: the answers are described as 'forest', the stable's as 'tree'"],
            False,
        ),
        (
            object_of("label", label=NUMBER),
            object_of("score", score=NUMBER),
            ["prediction: the stable always answers label, the candidate doesn't"],
            True,
        ),
        (NUMBER, {"type": "string"}, ["prediction: the candidate answers text, the stable answers only numbers"], True),
        ({"type": "string"}, {"enum": ["a"]}, [], False),
        (object_of("a", a=NUMBER, more=False), object_of("a", "b", a=NUMBER, b=NUMBER, more=False), [], False),
    ],
)  # fmt: skip
def test_outputs_that_go_or_change_are_said_in_words(now: Any, then: Any, expected: list[str], narrows: bool) -> None:
    found = output_changes(now, then)
    assert told(found) == expected
    assert (narrowing(found) is not None) is narrows


def test_many_changes_are_counted() -> None:
    now = row(*(f"c{number}" for number in range(40)), value=NUMBER)
    then = copy.deepcopy(now)
    for number in range(40):
        then["anyOf"][0]["properties"][f"c{number}"] = {"type": "integer"}
    found = input_changes(now, then)
    assert len(found) == 21
    assert found[-1].message == "20 more changes of this kind"
    assert (narrowing(found) or "").endswith("; and 16 more")


def test_what_narrows_comes_first() -> None:
    found = contract_changes(unnamed(2), unnamed(2), outputs(LABEL), outputs(("x", "int64", [-1])))
    assert [change.narrows for change in found] == [True, False]
