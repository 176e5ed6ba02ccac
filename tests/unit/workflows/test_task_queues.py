"""Which activity runs in which task queue: what is called has a worker there, and the way back is behind nothing."""

import ast
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.fixtures.documents import ROOT
from tests.fixtures.sources import sources
from tests.unit.activities.test_activity_names import NAMES
from tests.workflows.conftest import ports_of
from tests.workflows.world import World, rollout_brief
from workflows.task_queues import Activities

OPTIONS = {
    "forward": "acting",
    "inspecting": "artifacts",
    "run_until_done": "way back",
    "_run_unless_aborted": "way back",
    "taking_back": "way back",
    "until_done": "way back",
    "waiting": "waits",
    "watching": "watches",
}
EITHER = {"call", "run"}
"""Names of what a caller hands on: a call that may be forward, and may be on the way back."""


def called() -> Iterator[tuple[str, str, str]]:
    """Yield each call of an activity by a workflow: where, its name, and its task queue."""
    for path in sources("workflows"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := activity_of(node.args)) is not None:
                for queue in queues_of(node):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", name, queue


def activity_of(arguments: list[ast.expr]) -> str | None:
    for each in arguments[:1]:
        if isinstance(each, ast.Attribute) and ast.unparse(each.value).endswith("Activities"):
            return each.attr
    return None


def queues_of(call: ast.Call) -> set[str]:
    function = call.func
    if isinstance(function, ast.Name) and function.id in EITHER:
        return {"acting", "way back"}
    told = [function, *(keyword.value for keyword in call.keywords)]
    named = {
        getattr(node, "attr", None) or getattr(node, "id", None)
        for each in told
        for node in ast.walk(each)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    return {queue for name, queue in OPTIONS.items() if name in named} or {"acting"}


def names(activities: Iterable[Any]) -> set[str]:
    return {each.__temporal_activity_definition.name for each in activities}


@pytest.fixture(scope="module")
def registered() -> dict[str, set[str]]:
    made = Activities(ports_of(World(brief=rollout_brief(), clock=time.time)))
    own = {
        "way back": names(made.way_back()),
        "artifacts": names(made.artifacts()),
        "watches": names(made.watches()),
        "waits": names(made.waits()),
    }
    return {"acting": names(made.acting()), **own}


def test_every_activity_is_registered_in_each_queue_that_a_workflow_calls_it_in(
    registered: dict[str, set[str]],
) -> None:
    lost = [(where, name, queue) for where, name, queue in called() if name not in registered[queue]]
    assert lost == []
    assert set().union(*registered.values()) == NAMES


def test_what_the_way_back_calls_runs_in_its_own_queue() -> None:
    found = defaultdict(set)
    for where, name, queue in called():
        found[where.partition(":")[0]].add((name, queue))
    back = {
        "workflows/deployment/completion.py": {"raise_alert", "release_replicas"},
        "workflows/deployment/context.py": {"record_transition", "record_decision"},
        "workflows/deployment/rollback.py": {
            "await_replicas",
            "retire_replicas",
            "scale_replicas",
            "set_weight",
            "withdraw_candidate",
        },
        "workflows/queue.py": {"leave_queue"},
        "workflows/retirement.py": {"retire_replicas"},
        "workflows/scaling.py": {"scale_replicas"},
    }
    for path, activities in back.items():
        assert {name for name, queue in found[path] if queue == "way back"} == activities, path
    forward = {name for calls in found.values() for name, queue in calls if queue == "acting"}
    assert {"withdraw_candidate", "retire_replicas", "leave_queue"}.isdisjoint(forward), (
        "these are called backward only"
    )


def test_what_hangs_at_artifacts_has_nothing_in_common_with_the_way_back(registered: dict[str, set[str]]) -> None:
    assert registered["artifacts"] == {"inspect_artifact", "validate_version"}
    assert registered["artifacts"].isdisjoint(registered["way back"])


def test_what_a_worker_before_these_queues_has_scheduled_is_still_served(registered: dict[str, set[str]]) -> None:
    assert registered["way back"] | registered["artifacts"] <= registered["acting"]
