"""The hooks of `.pre-commit-config.yaml` run what `make check` runs, in the versions of the lock file."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.documents import ROOT
from tests.suite.parts import CONTRACTS, LINT, TYPES

REPOSITORIES: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
HOOKS = [hook for repository in REPOSITORIES for hook in repository["hooks"]]


def test_no_hook_brings_a_tool_of_its_own() -> None:
    assert {repository["repo"] for repository in REPOSITORIES} == {"local"}
    assert {hook["language"] for hook in HOOKS} == {"system"}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_calls_a_tool_of_the_environment(hook: dict[str, Any]) -> None:
    directory, _, tool = hook["entry"].split()[0].rpartition("/")
    assert directory == ".venv/bin"
    assert (Path(sys.executable).parent / tool).exists(), f"requirements.lock brings no {tool}"


def test_the_hooks_are_the_parts_of_make_check_that_need_no_tests() -> None:
    parts = " ".join(word for part in (LINT, TYPES, CONTRACTS) for word in part.command)
    commands = [hook["entry"].removeprefix(".venv/").partition(" --")[0] for hook in HOOKS]
    assert len(commands) == len(set(commands)) == parts.count("/bin/")
    for command in commands:
        assert f"/{command}" in parts
