"""Files that are replaced as a whole: a reader sees the old content or the new, also after a kill or a power cut."""

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write_atomically(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Replace a file by this content, as `replacing` does."""
    with replacing(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Replace a file, or make it, by what is written in the block; at its end all of it is on the disk.

    Its mode is `mode`, else that of the file that it replaces, else what the process gives new files. A draft beside it
    gets its name by a rename, which is what Envoy watches for. Raises OSError, and then the old file is still there, as
    it is after any other error in the block.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    wanted = mode if mode is not None else _mode_of(path)
    try:
        # Narrow from the first moment on: what is secret may be readable by others at no time.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if wanted is None else wanted & 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if wanted is not None:
                os.fchmod(file.fileno(), wanted)
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def write_json(path: Path, content: object) -> None:
    """Replace a file by JSON, as `write_atomically` does."""
    write_atomically(path, json.dumps(content, indent=1))
