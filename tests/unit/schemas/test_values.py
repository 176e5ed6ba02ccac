"""What people write has the kind that it looks like: a table over every field of every public schema.

The table is made from the schemas, so a new field is in it without a word here: one that isn't made of the kinds in
`hotswap.schemas.fields` takes some of this nonsense, and fails.
"""

from collections.abc import Iterator
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

import api.app  # noqa: F401 - every body is defined by the modules that it imports
from hotswap.manifests.schema import _Said
from hotswap.schemas import fields
from hotswap.schemas.fields import Duration, Flag, Number, Whole, read_duration, spelled
from hotswap.schemas.monitoring import MonitoringConfig
from hotswap.schemas.requests import Body
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import (
    ReplicaSettings,
    Settings,
    SettingsError,
    ShipperSettings,
    TrafficAgentSettings,
    load,
)
from hotswap.settings.section import Section

NO_DURATIONS = [
    5,
    5.0,
    "5",
    "5m",
    "00:05:00",
    "5 minutes",
    "",
    "P",
    "PT",
    "pt5m",
    "P1M",
    "P0Y5M",
    True,
    "PT5",
    ["PT5M"],
]
NO_WHOLES = [True, False, "10", "", 1.5, float("nan"), float("inf"), -float("inf"), [1], {}]
NO_NUMBERS = [True, False, "10", "", float("nan"), float("inf"), -float("inf"), 10**400, [1], {}]
NO_FLAGS = [1, 0, "yes", "true", "", [True]]
NONSENSE: dict[type, list[Any]] = {timedelta: NO_DURATIONS, float: NO_NUMBERS, int: NO_WHOLES, bool: NO_FLAGS}


def subclasses(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def inside(annotation: Any) -> Iterator[Any]:
    """The kinds that an annotation is made of, such as float of `dict[str, Number] | None`."""
    if get_origin(annotation) in {Annotated, Union, UnionType, list, tuple, dict, frozenset}:
        for part in get_args(annotation):
            yield from inside(part)
    elif isinstance(annotation, type):
        yield annotation


def with_what_they_hold(kinds: Iterator[type[BaseModel]]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    todo = list(kinds)
    while todo:
        kind = todo.pop(0)
        if kind in found:
            continue
        found.append(kind)
        for field in kind.model_fields.values():
            todo += [each for each in inside(field.annotation) if issubclass(each, BaseModel)]
    return found


WRITTEN = with_what_they_hold(iter([CanaryConfig, MonitoringConfig, *subclasses(Body), *subclasses(_Said)]))
SECTIONS = list(subclasses(Section))


def fields_of(models: list[type[BaseModel]], kinds: set[type]) -> list[Any]:
    return [
        pytest.param(model, name, kind, id=f"{model.__module__.rpartition('.')[2]}.{model.__name__}.{name}")
        for model in models
        for name, field in model.model_fields.items()
        if name != "outcome"  # text, numbers and truth values are all labels
        for kind in dict.fromkeys(inside(field.annotation))
        if kind in kinds and NoneType is not kind
    ]


def in_its_place(annotation: Any, value: Any) -> Any:
    """The value itself, or as the part of a list, a tuple or a mapping that a field holds."""
    text = str(annotation)
    if "dict[" in text:
        return {"x": value}
    return [value, 5] if "tuple[" in text else [value] if "list[" in text else value


@pytest.mark.parametrize(("model", "name", "kind"), fields_of(WRITTEN, set(NONSENSE)))
def test_nonsense_is_refused_by_the_name_of_its_field(model: type[BaseModel], name: str, kind: type) -> None:
    field = model.model_fields[name]
    alias = field.validation_alias or field.alias or name
    said = getattr(alias, "choices", [alias])[0]
    for nonsense in NONSENSE[kind]:
        value = in_its_place(field.annotation, nonsense)
        with pytest.raises(ValidationError) as refusal:
            model.model_validate({said: value})
        problems = refusal.value.errors(include_url=False)
        told = [each for each in problems if each["loc"] and each["loc"][0] == said]
        assert told, f"{value!r} is taken for {model.__name__}.{name}"


def test_the_table_has_the_fields_that_everybody_knows() -> None:
    """Guards the walk itself: an empty table would pass."""
    ids = {param.id for param in fields_of(WRITTEN, set(NONSENSE))}
    assert {
        "canary.CanaryConfig.monitoring_duration",
        "canary.CanaryConfig.bake_deadline",
        "canary.StepConfig.weight",
        "canary.StepConfig.bake",
        "canary.PauseConfig.limit",
        "analysis.MetricConfig.interval",
        "analysis.AnalysisConfig.latency_floor",
        "analysis.MetricConfig.bounds",
        "monitoring.MonitoringConfig.samples",
        "deployments.Resources.batch_wait",
        "deployments.CreateFreeze.duration",
        "tokens.CreateToken.expires_in",
        "registration.TrainingMetadata.metrics",
        "schema.ManifestMonitoring.accuracy_drop",
    } <= ids


@pytest.mark.parametrize(("model", "name", "kind"), fields_of(SECTIONS, {timedelta}))
@pytest.mark.parametrize("value", [each for each in NO_DURATIONS if not isinstance(each, list)])
def test_a_setting_that_is_a_duration_is_one(model: type[BaseModel], name: str, kind: type, value: Any) -> None:
    alias = model.model_fields[name].alias or name
    with pytest.raises(ValidationError) as refusal:
        model.model_validate({alias: value})
    assert any(each["loc"] == (alias,) for each in refusal.value.errors())


@pytest.mark.parametrize(("model", "name", "kind"), fields_of(SECTIONS, {int, float}))
def test_a_setting_that_is_a_number_is_read_from_the_text_of_a_variable(
    model: type[BaseModel], name: str, kind: type
) -> None:
    default = model.model_fields[name].default
    value: Any = str(default) if isinstance(default, int | float) else {"x": 2}  # those by name come as JSON
    problems: list[Any] = []
    try:
        model.model_validate({name: value})
    except ValidationError as refusal:  # of what else the section needs
        problems = [each for each in refusal.errors() if each["loc"][0] == name]
    assert problems == []


@pytest.mark.parametrize(("model", "name", "kind"), fields_of(SECTIONS, {int, float}))
def test_true_is_no_number_among_settings(model: type[BaseModel], name: str, kind: type) -> None:
    annotation = model.model_fields[name].annotation
    value: Any = {"x": True} if "dict[" in str(annotation) else True
    with pytest.raises(ValidationError) as refusal:
        model.model_validate({name: value})
    assert any(each["loc"][0] == name for each in refusal.value.errors())


def test_a_wrong_setting_is_told_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSWAP_STORAGE__GARBAGE_GRACE", "86400")
    monkeypatch.setenv("HOTSWAP_STORAGE__ACCESS_KEY", "a")
    monkeypatch.setenv("HOTSWAP_STORAGE__SECRET_KEY", "b")
    with pytest.raises(SettingsError) as refusal:
        load(ReplicaSettings)
    assert str(refusal.value) == (
        "setting HOTSWAP_STORAGE__GARBAGE_GRACE: must be a duration as ISO-8601 writes it, such as PT30S, PT5M or P1D"
    )


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Duration, 5, "must be a duration as ISO-8601 writes it, such as PT30S, PT5M or P1D"),
        (Duration, "P5M", "has months, whose length differs; write days, such as P30D, or PT5M for five minutes"),
        (Number, True, "must be a number, such as 10 or 0.5"),
        (Number, float("nan"), "must be a finite number, such as 10 or 0.5"),
        (Whole, "3", "must be a whole number, such as 3"),
        (Whole, True, "must be a whole number, such as 3"),
        (Whole, 3.0, "must be a whole number, such as 3"),
        (Flag, 1, "must be true or false"),
        (Annotated[Duration, Field(ge=timedelta(0))], "-PT5M", "must be at least PT0S"),
        (Annotated[Duration, Field(le=timedelta(days=1, seconds=90))], "P2D", "must be at most P1DT1M30S"),
    ],
)
def test_a_refusal_says_what_to_write(kind: Any, value: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(kind, config={"allow_inf_nan": False}).validate_python(value)
    assert fields.told(refusal.value.errors()[0]) == told


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Number, 10), (Number, 0.5), (Number, -1), (Whole, 3), (Flag, True), (Flag, False)],
)
def test_what_looks_like_its_kind_is_taken(kind: Any, value: Any) -> None:
    assert TypeAdapter(kind).validate_python(value) == value


@pytest.mark.parametrize("seconds", [0, 0.000001, 5, 300, 86_400, 31 * 86_400, 400 * 86_400, 0.25])
def test_what_is_stored_as_a_duration_is_read_again(seconds: float) -> None:
    length = timedelta(seconds=seconds)
    assert read_duration(spelled(length)) == length
    assert TypeAdapter(Duration).validate_json(f'"{spelled(length)}"') == length
    assert read_duration(length) == length


def test_readers_of_settings_are_all_looked_at() -> None:
    for reader in (Settings, TrafficAgentSettings, ReplicaSettings, ShipperSettings):
        for field in reader.model_fields.values():
            assert field.annotation in SECTIONS
