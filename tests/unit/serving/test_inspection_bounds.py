"""However many artifacts come at once, few are worked on, after everything else, and nothing else waits for them."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.domain.registry import Inspection
from hotswap.domain.vocabulary import Framework
from serving import inspection
from serving.artifacts import ArtifactCache
from serving.children import EndedChild, run_child
from serving.inspection import SubprocessInspector
from tests.fixtures.patience import patient, until
from tests.fixtures.s3 import Stored

MANY = 40
FOUND: dict[str, object] = {"inputSchema": {}, "outputSchema": {}}


class Uploads(Stored):
    """A small archive for each URI, with another checksum for each; with `hang` it fails once it is released."""

    def __init__(self, directory: Path, *, hang: bool = False) -> None:
        super().__init__()
        with tarfile.open(directory / "model.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo("model.onnx"))
        self._archive = (directory / "model.tar").read_bytes()
        self._lock = threading.Lock()
        self._hang = hang
        self.released = threading.Event()
        self.under_way = self.most = 0

    def download(self, uri: str, path: Path) -> tuple[str, int]:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        if self._hang:
            self.released.wait()
        with self._lock:
            self.under_way -= 1
        if self._hang:
            raise Unavailable("S3 has hung up")
        path.write_bytes(self._archive)
        return f"{int(uri.rpartition('/')[2]):064x}", len(self._archive)


class Children:
    """Counts the children that there are at a time, which end at once."""

    def __init__(self, answer: EndedChild | None = None) -> None:
        self.modules: list[str] = []
        self.under_way = self.most = 0
        self.answer = answer or EndedChild(0, json.dumps(FOUND).encode(), b"")

    async def run(self, *command: str, seconds: float, cwd: Path, environment: Mapping[str, str]) -> EndedChild:
        self.modules.append(command[2])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        return self.answer


def make(storage: Uploads, directory: Path, *, at_once: int = 2) -> SubprocessInspector:
    cache = ArtifactCache(directory / "cache", storage)
    return SubprocessInspector(cache, max_memory_bytes=4 * 1024**3, at_once=at_once)


async def inspected(inspector: SubprocessInspector, number: int) -> Inspection:
    return await inspector.inspect(f"s3://ml-models/{number}", framework=Framework.ONNX, expected_sha256=None)


async def test_downloads_that_hang_are_few_and_take_nobody_elses_threads(tmp_path: Path) -> None:
    storage = Uploads(tmp_path, hang=True)
    inspector = make(storage, tmp_path)
    stuck = [asyncio.create_task(inspected(inspector, number)) for number in range(MANY)]
    await until(lambda: storage.under_way == inspector.fetched_at_once)
    async with asyncio.timeout(patient(5)):
        await asyncio.to_thread(lambda: None)
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    assert storage.most == inspector.fetched_at_once == 4
    for each in stuck:
        each.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    inspector.close()
    storage.released.set()


@pytest.mark.parametrize("at_once", [1, 2])
async def test_there_are_no_more_children_than_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    children = Children()
    monkeypatch.setattr(inspection, "run_child", children.run)
    inspector = make(Uploads(tmp_path), tmp_path, at_once=at_once)
    async with asyncio.timeout(patient(30)):
        await asyncio.gather(*(inspected(inspector, number) for number in range(MANY)))
    assert children.most == at_once
    assert children.modules.count("serving.unpack_child") == children.modules.count("serving.inspect_child") == MANY
    inspector.close()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (EndedChild(0, b'{"problem": "the archive is refused: it is a bomb"}', b""), ValidationFailed, "it is a bomb"),
        (EndedChild(1, b"", b"Traceback\nOSError: No space left"), OSError, "status 1: OSError: No space left"),
        (EndedChild(-9, b"", b""), OSError, "exit status -9: no word of it"),
    ],
)
async def test_an_archive_that_is_bad_is_told_from_a_machine_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: EndedChild, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr(inspection, "run_child", Children(answer).run)
    inspector = make(Uploads(tmp_path), tmp_path)
    with pytest.raises(error, match=message):
        await inspected(inspector, 1)
    assert not [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    inspector.close()


async def test_unpacking_that_takes_too_long_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: str, seconds: float, **__: object) -> EndedChild:
        raise TimeoutError

    monkeypatch.setattr(inspection, "run_child", hang)
    inspector = make(Uploads(tmp_path), tmp_path)
    with pytest.raises(Unavailable, match="longer than 600 s"):
        await inspected(inspector, 1)
    inspector.close()


async def test_a_child_is_niced_and_is_the_process_that_was_asked_for(tmp_path: Path) -> None:
    code = "import os; print(os.getpid(), os.getppid(), os.getpriority(os.PRIO_PROCESS, 0))"
    child = await run_child(sys.executable, "-c", code, seconds=patient(20), cwd=tmp_path, environment={})
    _, parent, niceness = map(int, child.output.split())
    assert child.status == 0
    assert parent == os.getpid(), "nice has become the program"
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


@pytest.mark.parametrize("how", ["time-out", "cancel"])
async def test_a_child_that_goes_on_is_killed(tmp_path: Path, how: str) -> None:
    code = f"import os, signal, pathlib; pathlib.Path('{tmp_path}/pid').write_text(str(os.getpid())); signal.pause()"
    seconds = 1.0 if how == "time-out" else patient(60)
    running = asyncio.create_task(
        run_child(sys.executable, "-S", "-c", code, seconds=seconds, cwd=tmp_path, environment={})
    )
    if how == "cancel":
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        running.cancel()
    with pytest.raises(TimeoutError if how == "time-out" else asyncio.CancelledError):
        await running
    if (tmp_path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text() or 0), signal.SIG_DFL)


def endless(members: int) -> bytes:
    """A zip whose list of members is all that there is of it: each has the same name, and no content."""
    member = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, *(0,) * 8, 1, *(0,) * 6) + b"x"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, members * len(member), 0, 0)
    return member * members + end


@pytest.mark.slow
def test_an_archive_that_takes_too_much_memory_to_unpack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(endless(300_000))
    (tmp_path / "into").mkdir()
    code = f"import serving.unpack_child as child; child.MOST_MEMORY_BYTES = {100 * 1024**2}; child.main()"
    command = [sys.executable, "-c", code, str(tmp_path / "archive"), str(tmp_path / "into")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(60))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problem"].endswith("to unpack it takes more than 104857600 bytes of memory")
