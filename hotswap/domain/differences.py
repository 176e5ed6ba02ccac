"""The differences between what serves now and what would serve after a deployment. Pure.

Both sides are compared field by field, each difference with its path in the names that the API uses. So a person sees
in one line what a release changes, and a pipeline can refuse a change that it doesn't expect. Nothing is judged here:
whether a difference matters is up to the reader.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hotswap.domain.application import ReplicaResources
from hotswap.domain.contract import columns
from hotswap.domain.recording import Recording
from hotswap.domain.vocabulary import Framework, Strategy

_UNORDERED = frozenset({"required", "enum", "type"})
"""Keywords of JSON Schema whose lists are sets; but `required` tells the order of columns where rows are lists too."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup that a deployment puts in place, and its strategy."""

    version: str
    framework: Framework
    resources: ReplicaResources
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    strategy: Strategy
    strategy_config: Mapping[str, Any]
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` such as `inputSchema.properties.amount.type`; None is what isn't there on that side."""

    path: str
    now: Any
    then: Any


def differences(now: Setup, then: Setup) -> tuple[Difference, ...]:
    """Return every field in which the two differ, in the order of `Setup` and then of the new side."""
    return tuple(_walk("", _as_json(now), _as_json(then)))


def _as_json(setup: Setup) -> dict[str, Any]:
    return {
        "version": setup.version,
        "framework": setup.framework.value,
        "resources": {each.name: getattr(setup.resources, each.name) for each in fields(setup.resources)},
        "inputSchema": setup.input_schema,
        "outputSchema": setup.output_schema,
        "strategy": setup.strategy.value,
        "strategyConfig": setup.strategy_config,
        "recordFeatures": setup.recording.features.value,
        "recordSampleRate": setup.recording.sample_rate,
        "dropFields": list(setup.recording.drop_fields),
    }


def _walk(path: str, now: Any, then: Any, *, in_order: bool = False) -> Iterator[Difference]:
    """Yield the differences below `path`.

    `in_order`: beside these schemas a row may be a list, so the order of the columns decides what the list means.
    """
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        in_order = in_order or bool(columns(now) and columns(then))
        for key in (*then, *(key for key in now if key not in then)):
            yield from _walk(f"{path}.{key}" if path else key, now.get(key), then.get(key), in_order=in_order)
    elif _are_lists_of_objects(now, then):
        for position, (one, other) in enumerate(zip(now, then, strict=True)):
            yield from _walk(f"{path}[{position}]", one, other, in_order=in_order)
    elif not _is_same("" if in_order and path.endswith(".required") else path.rpartition(".")[2], now, then):
        yield Difference(path, now, then)


def _are_lists_of_objects(now: Any, then: Any) -> bool:
    """Return whether both are lists of objects of one length.

    If an element was added or removed, only the whole lists show what is new.
    """
    return (
        isinstance(now, list)
        and isinstance(then, list)
        and len(now) == len(then)
        and all(isinstance(each, Mapping) for each in (*now, *then))
    )


def _is_same(key: str, now: Any, then: Any) -> bool:
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        if key in _UNORDERED:
            now, then = sorted(now, key=repr), sorted(then, key=repr)
        return all(_is_same("", one, other) for one, other in zip(now, then, strict=True))
    if isinstance(now, bool) or isinstance(then, bool):
        return now is then  # to Python True is 1, to JSON it isn't
    return bool(now == then)
