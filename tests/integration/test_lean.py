"""The package alone in an environment of its own: the client, the command line, and no library of the servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.documents import ROOT
from tests.fixtures.patience import patient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVERS = {"fastapi", "numpy", "onnxruntime", "ray", "scipy", "sqlalchemy", "temporalio", "uvicorn"}


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of commands of an environment that has this package without any extra."""
    place = tmp_path_factory.mktemp("lean")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "activities", "api", "hotswap", "serving", "workflows"):
        (source / name).symlink_to(ROOT / name)
    run([*wheel, str(place), str(source)]).check_returncode()
    (built,) = place.glob("hotswap-*.whl")
    run([sys.executable, "-m", "venv", str(place / "venv")]).check_returncode()
    commands = place / "venv" / "bin"
    run([str(commands / "python"), "-m", "pip", "install", "--quiet", str(built)]).check_returncode()
    return commands


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it away from the sources, which are found nowhere but in the environment."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HOTSWAP_", "PYTHONPATH"))}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=patient(200),
        env={**known, **environment},
    )


def test_nothing_of_the_servers_is_installed(lean: Path) -> None:
    listed = run([str(lean / "python"), "-m", "pip", "list", "--format", "json"])
    installed = {each["name"].lower() for each in json.loads(listed.stdout)}
    assert {"hotswap", "httpx", "pydantic", "typer"} <= installed
    assert installed & SERVERS == set()
    assert len(installed) < 40, sorted(installed)


@pytest.mark.parametrize("words", [["--help"], ["models", "list", "--help"], ["up", "--help"], ["deploy", "--help"]])
def test_every_commands_help_is_there(lean: Path, words: list[str]) -> None:
    shown = run([str(lean / "hotswap"), *words])
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Usage: hotswap" in shown.stdout


def test_the_client_asks_and_says_that_nobody_answers(lean: Path) -> None:
    code = """
from hotswap.client import ApiError, AsyncHotSwap, CreateDeployment, HotSwap
try:
    HotSwap("http://127.0.0.1:9").deployments.start(CreateDeployment(model_id="fraud"))
except ApiError as error:
    print(error.code)
"""
    assert run([str(lean / "python"), "-c", code]).stdout == "UNREACHABLE\n"
    listed = run([str(lean / "hotswap"), "models", "list"], HOTSWAP_URL="http://127.0.0.1:9")
    assert (listed.returncode, "can't be reached" in listed.stderr) == (1, True)


def test_a_manifest_is_read(lean: Path, tmp_path: Path) -> None:
    file = tmp_path / "fraud.yaml"
    serving = "environments: {Staging: {version: champion, strategyConfig: {canaryPercentage: 10}}}"
    file.write_text(f"{{apiVersion: hotswap/v1, kind: Model, name: fraud, framework: ONNX, {serving}}}")
    planned = run([str(lean / "hotswap"), "apply", "-f", str(file), "--dry-run"], HOTSWAP_URL="http://127.0.0.1:9")
    assert "can't be reached" in planned.stderr


@pytest.mark.parametrize("words", [["up"], ["demo"], ["db", "migrate"], ["keys", "rotate"]])
def test_a_servers_command_says_in_a_line_which_extra_it_needs(lean: Path, tmp_path: Path, words: list[str]) -> None:
    refused = run([str(lean / "hotswap"), *words], HOTSWAP_DATA_DIR=str(tmp_path), HOME=str(tmp_path))
    assert refused.returncode == 1
    assert "needs the extra" in refused.stderr
    assert "'hotswap[server" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
