"""Whatever is sent is read, or refused with the domain's own error: no parser of what comes from outside breaks.

Bodies are tried with the fields that they have and any JSON in them; a new one is tried without a word here. Cursors
are in test_cursors.py, tensors in test_open_inference.py, weights and steps in test_strategy_config.py.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from hotswap.cli.options import duration, moment
from hotswap.domain.access import Grant
from hotswap.domain.distributions import registered
from hotswap.domain.errors import HotSwapError, SchemaValidationFailed, ValidationFailed
from hotswap.domain.ids import check_alias, check_model_name, normalize_sha256
from hotswap.domain.vocabulary import Framework
from hotswap.schemas import problems
from hotswap.schemas.monitoring import MonitoringConfig
from hotswap.schemas.requests import Body, Replay, split_resources
from hotswap.schemas.requirements import checked
from hotswap.schemas.strategy import CanaryConfig
from hotswap.security import service_tokens
from serving.golden import golden_requests
from serving.runtimes.mlflow import described
from serving.schemas import FeatureSchema

pytestmark = pytest.mark.slow

texts = st.text(max_size=80)
WORDS = "1e999 NaN P1D PT1S -PT0S P 2026-12-27T06:00:00Z 0001-01-01T00:00:00+23:59 9999-12-31T23:59:59-23:59 1.0.0 -1"
telling = st.sampled_from([*WORDS.split(), "", "champion", "s3://ml-models/x", "Production", "a" * 300, "\0"])
numbers = st.integers(-(2**70), 2**70) | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts | telling,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def refusal(kinds: Any, parse: Callable[[], Any]) -> Any:
    """The error of these kinds that it raised, if it did; any other is the test's failure."""
    try:
        parse()
    except kinds as error:
        return error
    return None


def bodies() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = [CanaryConfig, MonitoringConfig, Replay]
    for kind in Body.__subclasses__():
        found += [kind, *kind.__subclasses__()]
    return list(dict.fromkeys(found))


def near(kind: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """What has this body's fields, with anything in them."""
    names = [field.alias or name for name, field in kind.model_fields.items()]
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))


@pytest.mark.parametrize("kind", bodies(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_body_fits_or_is_refused_by_its_fields(kind: type[BaseModel], data: st.DataObject) -> None:
    said = data.draw(anything | near(kind))
    refused = refusal((ValidationError, HotSwapError), lambda: kind.model_validate(said))
    if isinstance(refused, ValidationError):
        assert problems.refusal(refused.errors()).details[0].field


@given(config=near(CanaryConfig))
def test_a_strategys_configuration_makes_a_plan_or_is_refused(config: dict[str, Any]) -> None:
    try:
        rest, resources = split_resources(config, None)
        made = CanaryConfig.model_validate(rest)
        made.check_scale(resources)
    except (ValidationError, ValidationFailed):
        return
    assert made.plan()[-1].weight == 10_000


@pytest.mark.parametrize(
    ("parse", "kinds"),
    [
        (check_model_name, ValidationFailed),
        (check_alias, ValidationFailed),
        (normalize_sha256, ValidationFailed),
        (checked, ValidationFailed),
        (Grant.parse, ValueError),
        (service_tokens.read, ()),
        (duration, typer.BadParameter),
        (moment, typer.BadParameter),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
@given(text=texts | telling | st.from_regex(r"[a-z]+:?[A-Za-z]*(>=|==)?[0-9.]*", fullmatch=True))
def test_a_word_is_one_or_is_refused(parse: Callable[[str], Any], kinds: Any, text: str) -> None:
    refused = refusal(kinds, lambda: parse(text))
    assert refused is None or str(refused)


@given(said=st.dictionaries(texts, anything, max_size=3))
def test_a_reference_is_one_or_is_refused_with_its_feature(said: dict[str, Any]) -> None:
    refused = refusal(ValidationFailed, lambda: registered(said))
    assert refused is None or refused.details


SCHEMAS = [
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    {"type": "object", "properties": {"amount": {"type": "number", "minimum": 0.5}}, "required": ["amount"]},
    {"type": "string", "maxLength": 3},
]


@pytest.mark.parametrize("schema", SCHEMAS)
@given(features=anything)
def test_features_fit_or_are_refused_by_their_path(schema: dict[str, Any], features: Any) -> None:
    checker = FeatureSchema(schema)
    for check in (checker.check, checker.check_quickly):
        refused = refusal(SchemaValidationFailed, partial(check, features, "features"))
        assert refused is None or refused.details[0].field.startswith("features")


@given(
    files=st.dictionaries(
        st.sampled_from(["MLmodel", "golden.json"]),
        st.binary(max_size=200)
        | st.builds(
            "flavors: {}\nsignature: {{inputs: {}}}\n".format,
            st.sampled_from(["{sklearn: {pickled_model: model.pkl}}", "{onnx: {data: ../x}}", "[]", "{onnx: 1}", "~"]),
            st.sampled_from(["'[]'", '\'[{"type": "tensor"}]\'', "'{'", "3", "'[[]]'", "'null'"]),
        ).map(str.encode),
    ),
    framework=st.sampled_from(Framework),
)
def test_what_an_archive_says_of_itself_is_read_or_refused(files: dict[str, bytes], framework: Framework) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        for read in (partial(described, framework), golden_requests):
            refused = refusal(ValidationFailed, partial(read, Path(place)))
            assert refused is None or refused.details[0].field == "artifactPath"
