"""The stack's secrets are the same for all commands, also for those that run at the same time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hotswap.bootstrap import credentials
from hotswap.bootstrap.layout import Layout


@pytest.mark.slow
def test_commands_at_the_same_time_find_the_same_secrets_and_leave_nothing_else(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.secrets.mkdir(parents=True)
    with ThreadPoolExecutor(8) as commands:
        found = list(commands.map(lambda _: credentials.load(layout), range(64)))
    assert {(each.s3_secret_key, each.postgres_password, each.ray_token) for each in found} == {
        (found[0].s3_secret_key, found[0].postgres_password, found[0].ray_token)
    }
    assert {file.suffix for file in layout.secrets.iterdir()} == {"", ".json"}
    assert {file.stat().st_mode & 0o777 for file in layout.secrets.iterdir()} == {0o600}


@pytest.mark.slow
def test_keys_that_are_rotated_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.secrets.mkdir(parents=True)
    secrets, later = credentials.load(layout), datetime.now(UTC) + timedelta(hours=1)
    with ThreadPoolExecutor(8) as commands:
        made = list(commands.map(lambda _: credentials.rotate_signing_keys(layout, secrets, signs_at=later), range(8)))
    kept = {key["kid"] for key in credentials.signing_keys(secrets)}
    assert len(kept) == 9
    assert {key["kid"] for key in made} < kept
