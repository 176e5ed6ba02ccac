"""The verbs that a deployment listens to, and how the inputs of a command are read."""

from typing import Any

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import ValidationFailed
from hotswap.messages import Abort, Approve, GoToStep, Rollback
from workflows.command_inputs import read, read_abort
from workflows.deployment import DeploymentWorkflow
from workflows.deployment.commands import VERBS
from workflows.queue import QueueWorkflow

MALFORMED: tuple[tuple[Any, ...], ...] = (({}, {}), ("ann",), ({"by": 7},), ({"by": "ann", "resaon": "errors"},))


def test_every_verb_is_an_update_and_a_signal() -> None:
    definition = workflow._Definition.must_from_class(DeploymentWorkflow)  # what Temporal registers
    updates = {name: each.description for name, each in definition.updates.items() if name is not None}
    signals = {name: each.description for name, each in definition.signals.items() if name is not None}
    assert updates == signals == VERBS
    assert {None, *VERBS} == set(definition.updates) == set(definition.signals), "any other name is answered as well"
    handlers = {f"{verb}_{kind}" for verb in (*VERBS, "unknown") for kind in ("update", "signal")}
    functions = [each.fn for each in definition.updates.values()] + [each.fn for each in definition.signals.values()]
    assert {each.__name__ for each in functions} == handlers


def test_what_waits_for_its_turn_can_be_aborted_by_either() -> None:
    definition = workflow._Definition.must_from_class(QueueWorkflow)
    assert set(definition.updates) == set(definition.signals) == {"abort", None}


@pytest.mark.parametrize("inputs", MALFORMED)
@pytest.mark.parametrize("kind", [Approve, GoToStep, Abort])
def test_a_malformed_command_is_refused_by_name(kind: type[Any], inputs: tuple[Any, ...]) -> None:
    with pytest.raises(ApplicationError, match=f"^VALIDATION_ERROR: {kind.__name__}[: ]") as refused:
        read(kind, inputs)
    assert refused.value.type == ValidationFailed.code
    assert refused.value.non_retryable


@pytest.mark.parametrize("inputs", MALFORMED)
@pytest.mark.parametrize("kind", [Abort, Rollback])
def test_a_malformed_abort_aborts_all_the_same(kind: type[Abort], inputs: tuple[Any, ...]) -> None:
    abort = read_abort(kind, inputs)
    assert abort.rollback == (kind is Rollback)
    assert abort.by == "unknown"
    assert abort.reason is not None
    assert abort.reason.startswith(f"what was said could not be read ({kind.__name__}")


def test_an_abort_needs_no_input() -> None:
    assert read_abort(Abort, ()) == Abort()
    assert read_abort(Abort, ({"by": "ann", "reason": "errors"},)) == Abort(by="ann", reason="errors")
