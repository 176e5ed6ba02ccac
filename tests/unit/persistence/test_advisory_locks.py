"""Every advisory lock of the database is in one register."""

import re
from pathlib import Path

from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.advisory import AdvisoryLock
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources

MIGRATION = ROOT / "hotswap" / "persistence" / "migrations" / "env.py"
"""It may be a script for psql, which has no session."""


def test_nobody_takes_a_lock_beside_the_register() -> None:
    taking = {path for path in sources(*PRODUCT) if re.search(r"pg_\w*advisory", path.read_text())}
    assert taking == {Path(advisory.__file__), MIGRATION}


def test_the_numbers_stay_for_processes_of_another_release_run_meanwhile() -> None:
    assert {lock.name: lock.value for lock in AdvisoryLock} == {
        "MIGRATIONS": 0x0407_5A4B,
        "PLANNING": 0x0407_CA9A,
        "SLOTS": 0x0407_510C,
        "ARTIFACTS": "hotswap artifacts",
        "COLLECTING": "hotswap garbage collection",
        "PROXY_COUNTS": "hotswap proxy_counts",
    }
