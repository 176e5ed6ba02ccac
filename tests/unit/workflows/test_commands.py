"""The verbs that a deployment listens to, and how the inputs of a command are read."""

from typing import Any

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from hotswap.domain.errors import Conflict, ValidationFailed
from hotswap.domain.vocabulary import Environment
from hotswap.messages import (
    Abort,
    Approve,
    Decision,
    DeploymentInput,
    GoToStep,
    Pause,
    Request,
    Resume,
    Rollback,
    Scale,
)
from workflows.command_inputs import read, read_abort
from workflows.deployment import DeploymentWorkflow
from workflows.deployment.commands import VERBS, Commands
from workflows.deployment.context import MOST_UNRECORDED, Context
from workflows.deployment.state import CommandState, Progress
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


def test_every_update_has_a_validator_but_those_that_are_never_refused() -> None:
    for kind in (DeploymentWorkflow, QueueWorkflow):
        updates = workflow._Definition.must_from_class(kind).updates
        assert {name for name, each in updates.items() if each.validator is None} == {"abort", "rollback"} & set(
            updates
        )


INPUT = DeploymentInput(
    deployment_id="dep-1", environment=Environment.PRODUCTION, model="fraud", version="2.0.0", initiated_by="ann"
)


@pytest.mark.parametrize(
    ("kind", "said", "type_", "message"),
    [
        (Pause, {"by": "ann"}, None, None),
        (Resume, {"by": "ann"}, Conflict.code, "dep-1 is Pending, and it isn't paused"),
        (
            Scale,
            {"by": "ann", "replicas": 2},
            Conflict.code,
            "and its replicas are those of its plan",
        ),
        (GoToStep, {"by": "ann", "step": 0}, ValidationFailed.code, "GoToStep: step: "),
    ],
)
def test_a_command_is_checked_without_any_trace(
    kind: type[Request], said: dict[str, Any], type_: str | None, message: str | None
) -> None:
    context = Context(INPUT)
    commands = Commands(context)
    if type_ is None:
        commands.check(kind, (said,))
    else:
        with pytest.raises(ApplicationError, match=f"{message}") as refused:
            commands.check(kind, (said,))
        assert (refused.value.type, refused.value.non_retryable) == (type_, True)
    assert (context.progress, context.commands) == (Progress(), CommandState())


def test_what_can_not_be_put_on_record_soon_is_refused_unless_it_is_an_abort() -> None:
    context = Context(INPUT)
    context.continues = True
    one = Decision(id="1", deployment_id="dep-1", kind="pause", actor="ann", message="pause")
    context.progress.unrecorded = [one] * MOST_UNRECORDED
    with pytest.raises(ApplicationError, match="only an abort is taken"):
        Commands(context).check(Pause, ({"by": "ann"},))
    Commands(context).check(Abort, ({"by": "ann"},))


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
