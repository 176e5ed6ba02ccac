"""The API as a process: it starts with nothing behind it, says what is missing, and stops when told to."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hotswap.security.signing import public_jwks
from tests.fixtures.api_settings import SIGNING_KEY
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.ports import free_port


def start(tmp_path: Path, **environment: str) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HOTSWAP_", "TEMPORAL_"))}
    with (tmp_path / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "api.app"],
            env={**inherited, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def test_it_serves_with_every_server_away_and_stops_on_sigterm(tmp_path: Path) -> None:
    jwks, ready_file, port = tmp_path / "jwks.json", tmp_path / "ready", free_port()
    jwks.write_text(json.dumps(public_jwks(SIGNING_KEY)))
    process = start(
        tmp_path,
        HOTSWAP_POSTGRES__URL="postgresql+psycopg://hotswap:very-secret@127.0.0.1:1/hotswap",
        HOTSWAP_REDIS__URL="redis://:very-secret@127.0.0.1:1",
        HOTSWAP_STORAGE__ENDPOINT="127.0.0.1:1",
        HOTSWAP_STORAGE__ACCESS_KEY="key",
        HOTSWAP_STORAGE__SECRET_KEY="very-secret",
        HOTSWAP_RAY__AUTH_TOKEN="very-secret",
        HOTSWAP_SECURITY__JWKS_FILE=str(jwks),
        HOTSWAP_GATEWAY__API_PORT=str(port),
        HOTSWAP_READY_FILE=str(ready_file),
        TEMPORAL_ADDRESS="127.0.0.1:1",
    )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return ready_file.exists()

        wait_until(is_ready, seconds=20, every=0.05, what="the API's start")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=patient(30)) as http:
            assert http.get("/health").json() == {"status": "alive"}
            ready = http.get("/health/ready")
        assert ready.status_code == 503
        checks = ready.json()["checks"]
        assert {name for name, check in checks.items() if not check["ok"]} == {
            "postgresql",
            "redis",
            "temporal",
            "storage",
        }
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(10)) == 0
    finally:
        process.kill()
        process.wait()
    assert "very-secret" not in ready.text + (tmp_path / "log").read_text()


def test_a_missing_setting_stops_it_with_one_line_that_names_it(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.wait(patient(20)) == os.EX_CONFIG
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["message"].startswith("setting HOTSWAP_REDIS")


@pytest.fixture(autouse=True)
def _away_from_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
