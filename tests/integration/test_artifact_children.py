"""Many hostile registrations beside traffic: their processes are few at any moment, and come after everything else."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from hotswap.domain.application import ArtifactRef
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import Framework
from serving.artifacts import ArtifactCache
from serving.inspection import SubprocessInspector
from serving.runtimes import Terms
from tests.fixtures.patience import until
from tests.fixtures.s3 import Stored

NICE_FIELD = 16
"""Of `/proc/PID/stat`, counted after the command's name."""
PARENT_FIELD = 1


def children() -> Iterator[tuple[int, int]]:
    """Yield process id and niceness of each child of this process that looks into an artifact."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, stat = (place / "cmdline").read_bytes(), (place / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat.rpartition(")")[2].split()
        if int(fields[PARENT_FIELD]) == os.getpid() and b"serving.inspect_child" in command:
            yield int(place.name), int(fields[NICE_FIELD])


async def test_of_fifty_artifacts_that_hang_two_are_loaded_at_a_time_and_niced(tmp_path: Path) -> None:
    artifact = ArtifactRef("s3://ml-models/m.tar.gz", "a" * 64, 1)
    (directory := tmp_path / artifact.sha256).mkdir()
    (directory / "model.py").write_text("while True: pass")
    cache = ArtifactCache(tmp_path, Stored())
    inspector = SubprocessInspector(cache, max_memory_bytes=4 * 1024**3, terms=Terms(custom_code=True), at_once=2)
    version = VersionRef("v", "m", "m", "1.0.0", Framework.CUSTOM, artifact, {}, {})
    hostile = [asyncio.create_task(inspector.validate(version)) for _ in range(50)]
    await until(lambda: len(list(children())) == 2, what="two children")
    for _ in range(20):
        found = list(children())
        assert len(found) <= 2
        await asyncio.sleep(0.05)
    assert {niceness for _, niceness in found} == {min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)}
    for each in hostile:
        each.cancel()
    await asyncio.gather(*hostile, return_exceptions=True)
    assert list(children()) == [], "a validation that is given up leaves no process"
    inspector.close()
