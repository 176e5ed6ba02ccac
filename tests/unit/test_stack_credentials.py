"""The stack's secrets are the same for all commands, also for those that run at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hotswap.cli.stack import credentials
from hotswap.cli.stack.layout import Layout


def test_commands_at_the_same_time_find_the_same_secrets_and_leave_nothing_else(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.secrets.mkdir(parents=True)
    first = credentials.load(layout)
    files = {file.name: file.read_text() for file in layout.secrets.iterdir()}
    with ThreadPoolExecutor(8) as commands:
        found = list(commands.map(lambda _: credentials.load(layout), range(64)))
    assert {each.s3_secret_key for each in found} == {first.s3_secret_key}
    assert {file.name: file.read_text() for file in layout.secrets.iterdir()} == files
    assert {file.stat().st_mode & 0o777 for file in layout.secrets.iterdir()} == {0o600}
