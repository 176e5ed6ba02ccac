"""`docker/` against the code, as far as that goes without a Docker engine: nothing here builds or starts anything.

What can drift is checked: modules that are run, settings and who may see them, routes that are probed, Temporal's
search attributes, Ray's variables, and that the image's packages are those of the lock.
"""

import importlib.util
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from api.app import create_app
from hotswap.bootstrap.__main__ import TASKS
from hotswap.bootstrap.credentials import load as load_credentials
from hotswap.bootstrap.layout import ADMIN_URL, Layout
from hotswap.messages import SEARCH_ATTRIBUTES
from hotswap.settings import ReplicaSettings, Settings, ShipperSettings, TrafficAgentSettings, load
from hotswap.stack.environment import SECTIONS, Environments
from hotswap.stack.ports import at_base
from tests.fixtures import settings_table
from tests.fixtures.documents import ROOT

DOCKER = ROOT / "docker"
Service = dict[str, Any]

NOT_SETTINGS = {"HOTSWAP_READY_FILE", "HOTSWAP_DATA_DIR", ADMIN_URL}
READERS: dict[str, tuple[type[Any], str]] = {
    "api": (Settings, "control"),
    "worker": (Settings, "control"),
    "recorder": (Settings, "control"),
    "agent": (TrafficAgentSettings, "agent"),
    "envoy-files": (TrafficAgentSettings, "agent"),
    "shipper": (ShipperSettings, "shipper"),
    "ray": (ReplicaSettings, "ray"),
    "bucket": (ReplicaSettings, "ray"),
}
"""By service: what it loads, and the embedded stack's kind of process that it is."""


@cache
def services(file: str = "compose.yaml") -> dict[str, Service]:
    text = re.sub(r"\$\{(\w+):\?\}", r"the-\1", (DOCKER / file).read_text())
    found: dict[str, Service] = yaml.safe_load(text)["services"]
    return found


OURS = {name: service for name, service in services().items() if service["image"] == "hotswap"}


def settings_of(service: Service) -> dict[str, str]:
    given = service.get("environment", {})
    return {name: value for name, value in given.items() if name.startswith("HOTSWAP_") and name not in NOT_SETTINGS}


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_an_entry_point(name: str) -> None:
    python, safe_path, as_module, module, *arguments = OURS[name]["command"]
    assert (python, safe_path, as_module) == ("python", "-P", "-m")
    found = importlib.util.find_spec(module)
    if found is not None and found.submodule_search_locations:
        found = importlib.util.find_spec(f"{module}.__main__")
    assert found is not None
    assert found.origin is not None
    assert 'if __name__ == "__main__":' in Path(found.origin).read_text()
    if module == "hotswap.bootstrap":
        assert set(arguments) <= set(TASKS)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_known_and_is_this_parts_business(name: str) -> None:
    known = {variable for variable, _ in settings_table.variables()}
    given = settings_of(OURS[name])
    assert given.keys() <= known
    if name in READERS:
        sections = {variable.removeprefix("HOTSWAP_").partition("__")[0] for variable in given}
        assert sections <= SECTIONS[READERS[name][1]]


@pytest.mark.parametrize("name", READERS)
def test_every_part_is_told_enough_to_start(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in settings_of(OURS[name]).items():
        monkeypatch.setenv(variable, value)
    load(READERS[name][0])


def test_only_the_api_is_given_the_key_that_signs() -> None:
    holders = [name for name in OURS if "HOTSWAP_SECURITY__SIGNING_KEY_FILE" in settings_of(OURS[name])]
    assert holders == ["api"]


def test_who_runs_other_peoples_models_mounts_no_keys() -> None:
    mounts = {name: [each.partition(":")[0] for each in service.get("volumes", [])] for name, service in OURS.items()}
    assert "keys" not in mounts["ray"] + mounts["shipper"]


def test_every_health_check_asks_what_there_is(settings: Settings) -> None:
    routes = {route.path for route in _routes(create_app(settings))}
    image = re.search(r"HEALTHCHECK.*?CMD (.*)", (DOCKER / "Dockerfile").read_text(), re.DOTALL)
    assert image is not None
    asked = [image[1].splitlines()[0]]
    for name, service in OURS.items():
        check = service.get("healthcheck", {})
        if check.get("disable"):
            assert service["restart"] != "unless-stopped", f"{name} runs on and on unchecked"
        elif check["test"][:3] == ["CMD", "test", "-e"]:
            assert check["test"][3] == service["environment"]["HOTSWAP_READY_FILE"]
        else:
            asked.append(" ".join(check["test"]))
    probed = [found for text in asked for found in re.findall(r"http://127\.0\.0\.1:5080(/[\w/]*)", text)]
    assert len(probed) == len(asked)
    assert set(probed) <= routes


def _routes(router: Any) -> list[APIRoute]:
    """Those of routers that are included too."""
    found = [route for route in router.routes if isinstance(route, APIRoute)]
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        found += [] if inner is None else _routes(inner)
    return found


def test_temporal_has_the_search_attributes() -> None:
    flags = [flag for flag in services()["temporal"]["command"] if flag.startswith("--search-attribute=")]
    assert dict(flag.removeprefix("--search-attribute=").split("=") for flag in flags) == SEARCH_ATTRIBUTES


def test_ray_is_told_what_the_embedded_one_is(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.secrets.mkdir()
    embedded = Environments(layout, at_base(None), load_credentials(layout), {}).ray()
    its_own = {"RAY_AUTH_TOKEN", "RAY_gcs_storage_path"}
    told = {name: value for name, value in OURS["ray"]["environment"].items() if name.startswith("RAY_")}
    assert its_own <= told.keys()
    assert {name: embedded.get(name) for name in told.keys() - its_own} == {
        name: told[name] for name in told.keys() - its_own
    }


@pytest.mark.parametrize("file", ["compose.yaml", "monitoring.yaml"])
def test_only_the_gateway_is_published_and_no_image_is_whatever_is_newest(file: str) -> None:
    for name, service in services(file).items():
        for port in service.get("ports", []):
            assert port == "5000:5000" or port.startswith("127.0.0.1:"), f"{name} publishes {port}"
        image = service.get("image") or services()[name]["image"]
        assert image == "hotswap" or ":" in image.rpartition("/")[2]
        assert not image.endswith(":latest")


def test_monitoring_reads_what_is_there() -> None:
    """Its file goes on top of the other: settings that their parts read, ports that something listens at, and files."""
    beside, parts = services("monitoring.yaml"), services()
    known = {variable for variable, _ in settings_table.variables()}
    for name in beside.keys() & parts.keys():
        assert settings_of(beside[name]).keys() <= known
    asked = {
        job["job_name"]: job["static_configs"][0]["targets"][0]
        for job in yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    }
    ray_port = next(flag for flag in parts["ray"]["command"] if flag.startswith("--metrics-export-port="))
    assert asked == {
        "hotswap-api": f"127.0.0.1:{settings_of(parts['api'])['HOTSWAP_GATEWAY__API_PORT']}",
        "hotswap-envoy": settings_of(parts["agent"])["HOTSWAP_AGENT__ENVOY_ADMIN_URL"].removeprefix("http://"),
        "hotswap-worker": settings_of(beside["worker"])["HOTSWAP_TELEMETRY__WORKER_METRICS"],
        "hotswap-ray": f"127.0.0.1:{ray_port.partition('=')[2]}",
    }
    for service in beside.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (DOCKER / source).is_dir()


def pins(path: Path) -> dict[str, frozenset[str]]:
    """`name==version` and its hashes."""
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    return {entry.split(" ")[0]: frozenset(re.findall(r"sha256:\w+", entry)) for entry in entries}


@pytest.mark.parametrize("name", ["frameworks", "torch-cuda", "torch-cpu"])
def test_the_large_frameworks_change_no_package_that_is_there_without_them(name: str) -> None:
    large, everything = pins(ROOT / f"requirements-{name}.lock"), pins(ROOT / "requirements.lock")
    names = {pin.partition("==")[0] for pin in everything}
    shared = {pin: hashes for pin, hashes in large.items() if pin.partition("==")[0] in names}
    assert shared.items() <= everything.items(), "run `make lock`"
    assert large
    assert all(large.values())


def test_the_images_packages_are_those_of_the_lock() -> None:
    image, everything = pins(DOCKER / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert image.items() <= everything.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    names = {pin.partition("==")[0] for pin in image}
    assert {re.split(r"[\[=<>~]", each)[0] for each in wanted} <= names
    assert "pytest" not in names


def test_the_image_holds_all_rooms_and_runs_as_nobody_special() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+(?: \S+)*) /src/", text, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert all((ROOT / source).exists() for source in sources)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= sources
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == allowed
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER mluser$", last, re.MULTILINE)
    assert "--uid 1000 mluser" in last
    assert "--require-hashes" in text
