"""What narrows a contract between two versions: a table, and that nothing that breaks a client is left out."""

import copy
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hotswap.domain.contract import ContractChange, contract_changes, input_changes, narrowing, output_changes
from serving.runtimes.rows import DIALECT, NUMBER_OR_MISSING, Columns
from serving.runtimes.tensors import graph_inputs
from serving.schemas import example

NUMBER = {"type": "number"}
FLOAT32, FLOAT64, INT32, INT64 = np.float32, np.float64, np.int32, np.int64


def row(*names: str, value: dict[str, Any] = NUMBER) -> dict[str, Any]:
    return Columns(len(names), names, value).schema


def unnamed(number: int, value: dict[str, Any] = NUMBER) -> dict[str, Any]:
    return Columns(number, (), value).schema


def tensor(dtype: Any, *sizes: int | None) -> dict[str, Any]:
    return graph_inputs([("input", np.dtype(dtype), (None, *sizes))]).schema


def tensors(**dtypes: Any) -> dict[str, Any]:
    return graph_inputs([(name, np.dtype(dtype), (None, 1)) for name, dtype in dtypes.items()]).schema


def object_of(*required: str, more: bool = True, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": more}


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


# --- whatever the two schemas are: what the one takes and the other refuses is never left out -------------------------

SMALL = st.integers(-3, 3)
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.none() | st.booleans() | SMALL | st.sampled_from([0.5, 2.0, -1.5, 1e300]) | st.text("ab", max_size=3)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
KINDS = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    sizes = st.integers(0, 3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
            "enum": st.lists(JSON, min_size=1, max_size=3),
            "const": JSON,
            "minimum": SMALL,
            "exclusiveMinimum": SMALL,
            "maximum": SMALL,
            "exclusiveMaximum": SMALL,
            "multipleOf": st.sampled_from([1, 2]),
            "minLength": sizes,
            "maxLength": sizes,
            "pattern": st.sampled_from(["^a", "b$"]),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=3),
            "minItems": sizes,
            "maxItems": sizes,
            "uniqueItems": st.booleans(),
            "contains": inner,
            "minContains": sizes,
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "propertyNames": inner,
            "minProperties": sizes,
            "maxProperties": sizes,
            "dependentRequired": st.just({"a": ["b"]}),
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "title": st.just("x"),
            "x-unit": st.just("kg"),
        },
    )


ANY_SCHEMA = st.recursive(
    st.booleans() | keywords(st.booleans()).map(lambda found: dict(list(found.items())[:3])),
    lambda inner: keywords(inner).map(lambda found: dict(list(found.items())[:4])),
    max_leaves=6,
)
FEATURE_NAMES = st.permutations(["a", "b", "c"]).flatmap(
    lambda names: st.integers(1, 3).map(lambda number: tuple(names[:number]))
)
RUNTIMES = st.one_of(
    st.builds(
        lambda names, value: row(*names, value=value), FEATURE_NAMES, st.sampled_from([NUMBER, NUMBER_OR_MISSING])
    ),
    st.builds(unnamed, st.integers(1, 3), st.sampled_from([NUMBER, NUMBER_OR_MISSING])),
    st.builds(
        lambda dtype, sizes: tensor(dtype, *sizes),
        st.sampled_from([FLOAT32, FLOAT64, INT32, INT64, np.uint8, np.bool_, np.object_]),
        st.lists(st.none() | st.integers(1, 3), max_size=2),
    ),
    st.builds(
        lambda names, dtypes: (
            graph_inputs(
                [(name, np.dtype(dtype), (None, 1)) for name, dtype in zip(names, dtypes, strict=False)]
            ).schema
        ),
        FEATURE_NAMES,
        st.lists(st.sampled_from([FLOAT32, INT64, np.bool_]), min_size=3, max_size=3),
    ),
)
FEATURES = JSON | st.lists(st.none() | SMALL | st.just(1e300) | st.just(0.5), max_size=3) | st.dictionaries(
    NAMES, st.none() | SMALL | st.just(1e300) | st.booleans(), max_size=3
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, schemas: st.SearchStrategy[Any]) -> tuple[Any, Any]:
    """Two schemas that are near each other: the second is the first with some keyword taken, changed or added."""
    now = draw(schemas)
    then = copy.deepcopy(now)
    places = [then] if isinstance(then, dict) else []
    for place in places:
        for value in place.values():
            places += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
            if isinstance(value, dict):
                places += [each for each in value.values() if isinstance(each, dict)]
    for _ in range(draw(st.integers(1, 2)) if places else 0):
        place = draw(st.sampled_from(places))
        if place and draw(st.booleans()):
            place.pop(draw(st.sampled_from(sorted(place))))
        else:
            place.update(dict(list(draw(keywords(st.booleans())).items())[:1]))
    return now, then


def accepts(schema: Any, instance: Any) -> bool:
    try:
        return bool(jsonschema_rs.validator_for(schema).is_valid(instance))
    except ValueError:
        assume(False)  # not a schema at all
        raise


@pytest.mark.parametrize("schemas", [RUNTIMES, ANY_SCHEMA], ids=["of runtimes", "of any kind"])
@pytest.mark.slow
@settings(max_examples=300)
@given(data=st.data())
def test_what_the_stable_takes_and_the_candidate_refuses_narrows(
    schemas: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    now, then = data.draw(st.tuples(schemas, schemas) | mutations(schemas))
    instances = data.draw(st.lists(FEATURES, min_size=1, max_size=8))
    if schemas is RUNTIMES:
        instances.append(example(now))
    if any(accepts(now, each) and not accepts(then, each) for each in instances):
        assert input_changes(now, then), (now, then)


@pytest.mark.slow
@pytest.mark.parametrize("schemas", [RUNTIMES, ANY_SCHEMA], ids=["of runtimes", "of any kind"])
@given(data=st.data())
def test_what_is_the_same_narrows_nothing(schemas: st.SearchStrategy[Any], data: st.DataObject) -> None:
    schema = data.draw(schemas)
    assert contract_changes(schema, copy.deepcopy(schema), schema, copy.deepcopy(schema)) == ()


@given(now=RUNTIMES, other=RUNTIMES)
def test_what_takes_more_narrows_nothing(now: Any, other: Any) -> None:
    assert input_changes(now, {"anyOf": [other, now]}) == ()
