"""Whatever two schemas are: what a version takes and another refuses is never left out when they are compared."""

import copy
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hotswap.domain.contract import contract_changes, input_changes
from serving.runtimes.rows import NUMBER_OR_MISSING
from serving.runtimes.tensors import graph_inputs
from serving.schemas import example
from tests.unit.feature_schemas import FLOAT32, FLOAT64, INT32, INT64, NUMBER, row, tensor, unnamed

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
    places: list[dict[str, Any]] = [then] if isinstance(then, dict) else []
    for place in places:
        for value in place.values():
            places += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
            if isinstance(value, dict):
                places += [each for each in value.values() if isinstance(each, dict)]
    for _ in range(draw(st.integers(1, 2)) if places else 0):
        place = draw(st.sampled_from(places))
        if place != {} and draw(st.booleans()):
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
