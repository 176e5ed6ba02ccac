"""The names that Temporal knows activities by: they stand in histories, so a renamed method must not change one."""

import importlib
import pkgutil
from collections.abc import Iterator

import activities

NAMES = {
    "add_version",
    "announce",
    "ask_for_rollback",
    "await_replicas",
    "await_turn",
    "backtest",
    "count_replicas",
    "find_leftovers",
    "find_tenure",
    "find_withdrawals",
    "inspect_artifact",
    "leave_queue",
    "look_at_accuracy",
    "look_for_drift",
    "make_active",
    "mark_told",
    "open_deployment",
    "plan_capacity",
    "publish_plan",
    "raise_alert",
    "record_approval",
    "record_decision",
    "record_rollback",
    "record_transition",
    "release_replicas",
    "repair_applications",
    "resize_replicas",
    "retire_replicas",
    "scale_replicas",
    "set_weight",
    "start_replicas",
    "take_slot",
    "validate_version",
    "warm_up",
    "watch",
    "withdraw_candidate",
}


def names() -> Iterator[str]:
    for info in pkgutil.iter_modules(activities.__path__):
        module = importlib.import_module(f"activities.{info.name}")
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__:
                for method in vars(each).values():
                    definition = getattr(method, "__temporal_activity_definition", None)
                    if definition is not None:
                        yield definition.name


def test_activities_keep_the_names_that_histories_know() -> None:
    assert sorted(names()) == sorted(NAMES)
