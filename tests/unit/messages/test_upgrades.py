"""Workers of two releases side by side: neither may fail at what the other sends.

`required.json` has the fields that a message had to have in the release that is named in it. When a release is made,
write it anew: `python -m tests.unit.messages.test_upgrades VERSION`.
"""

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

import activities
from hotswap import messages
from hotswap.domain.registry import DeploymentBrief
from hotswap.messages import Abort, DeploymentInput, PlanCapacity, WithdrawCandidate
from hotswap.process.temporal import DATA_CONVERTER
from workflows.command_inputs import read

FROZEN = Path(__file__).with_name("required.json")


def roots() -> Iterator[Any]:
    """Yield all that crosses Temporal: the exported messages, and what activities take and return."""
    yield from (each for each in vars(messages).values() if isinstance(each, type))
    for module in pkgutil.iter_modules(activities.__path__, "activities."):
        for kind in vars(importlib.import_module(module.name)).values():
            for method in vars(kind).values() if isinstance(kind, type) else ():
                if hasattr(method, "__temporal_activity_definition"):
                    yield from get_type_hints(method).values()


def required() -> dict[str, list[str]]:
    """Return the fields without a default of each message and dataclass that crosses Temporal, also within another."""
    found: dict[str, list[str]] = {}
    open_ = list(roots())
    while open_:
        kind = open_.pop()
        open_ += get_args(kind)
        if not isinstance(kind, type) or kind.__name__ in found:
            continue
        if issubclass(kind, BaseModel):
            found[kind.__name__] = sorted(name for name, field in kind.model_fields.items() if field.is_required())
            open_ += [field.annotation for field in kind.model_fields.values()]
        elif is_dataclass(kind):
            needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
            found[kind.__name__] = sorted(needed)
            open_ += get_type_hints(kind).values()
    return dict(sorted(found.items()))


def read_as(kind: type[Any], sent: dict[str, Any]) -> Any:
    converter = DATA_CONVERTER.payload_converter
    (got,) = converter.from_payloads(converter.to_payloads([sent]), [kind])
    return got


INPUT = {"deploymentId": "dep-1", "environment": "Production", "model": "m", "version": "1", "initiatedBy": "ann"}


def test_a_field_of_a_newer_release_is_ignored_at_every_depth() -> None:
    newer = {**INPUT, "newField": 1, "config": {"canaryPercentage": 20, "newField": 2, "steps": None}}
    got = read_as(DeploymentInput, newer)
    assert (got.deployment_id, got.config.canary_percentage) == ("dep-1", 20)


def test_what_is_known_and_wrong_is_still_refused_by_its_name() -> None:
    with pytest.raises(ApplicationError, match=r"config\.canaryPercentage") as refused:
        read_as(DeploymentInput, {**INPUT, "config": {"canaryPercentage": "many"}})
    assert refused.value.non_retryable


def test_what_a_person_says_stays_strict() -> None:
    with pytest.raises(ApplicationError, match="resaon"):
        read(Abort, [{"by": "ann", "resaon": "a typo"}])


def test_a_new_field_has_a_default() -> None:
    """Give it one: a worker of the release before doesn't send it, and its deployments have to go on."""
    released = json.loads(FROZEN.read_text())["required"]
    now = required()
    added = {name: sorted({*now.get(name, ())} - {*known}) for name, known in released.items()}
    assert {name: names for name, names in added.items() if names} == {}
    assert {PlanCapacity.__name__, WithdrawCandidate.__name__, DeploymentBrief.__name__} <= now.keys()


def test_no_message_of_a_release_is_gone() -> None:
    """Keep it until no worker of a release that sends it can be beside this one."""
    assert json.loads(FROZEN.read_text())["required"].keys() <= required().keys()


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({"release": sys.argv[1], "required": required()}, indent=2) + "\n")
