"""How each process of HotSwap begins, and how one with wrong settings ends."""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.process.lifetime import run_service
from hotswap.settings import DatabaseSettings, SettingsError
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources

URL = "postgresql+psycopg://hotswap@127.0.0.1:1/hotswap"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment of a process, and the log of this one again afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOTSWAP_POSTGRES__URL", URL)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_what_serves_is_given_its_settings_with_a_loop_of_its_own_or_without() -> None:
    seen: list[str] = []

    async def serve(settings: DatabaseSettings) -> None:
        seen.append(settings.postgres.url.get_secret_value())

    def serve_in_a_loop_of_its_own(settings: DatabaseSettings) -> None:
        seen.append(settings.postgres.url.get_secret_value())

    run_service("part", DatabaseSettings, serve)
    run_service("part", DatabaseSettings, serve_in_a_loop_of_its_own)
    assert seen == [URL, URL]


def test_a_missing_setting_ends_it_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOTSWAP_POSTGRES__URL")
    with pytest.raises(SystemExit) as ended:
        run_service("part", DatabaseSettings, lambda _: None)
    assert ended.value.code == os.EX_CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("setting HOTSWAP_POSTGRES__URL")


def test_a_setting_that_shows_to_be_wrong_later_ends_it_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Such as a certificate that doesn't belong to its key, which is seen when it is read."""

    async def serve(_: DatabaseSettings) -> None:
        raise SettingsError("setting HOTSWAP_GATEWAY__TLS_CERTIFICATE_FILE: can't be used")

    with pytest.raises(SystemExit) as ended:
        run_service("part", DatabaseSettings, serve)
    assert ended.value.code == os.EX_CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert "TLS_CERTIFICATE_FILE" in json.loads(line)["message"]


@pytest.mark.slow
def test_no_process_begins_in_a_way_of_its_own() -> None:
    begin = {
        str(path.relative_to(ROOT))
        for path in sources(*PRODUCT)
        if re.search(r"\bEX_CONFIG\b|run_service\(\n?", path.read_text())
    }
    assert begin == {
        "hotswap/process/lifetime.py",
        "api/app.py",
        "hotswap/persistence/recorder.py",
        "serving/agent.py",
        "serving/shipper.py",
        "workflows/worker.py",
    }
