"""Processes that work on what people have sent: after all other work of the machine, and never longer than they may.

They load models, unpack archives and install packages, beside replicas and Envoy that answer requests. So they are
niced, which counts for the processors and, as Linux derives it from that, for the disks. How many run at a time is
decided by whoever starts them (`serving/inspection.py`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NICED = ("nice", "-n", "10")
"""The program before the command: it becomes the command, so the process is niced before its first import.

Where everything else wants a processor too, 10 leaves the process a tenth of one: enough to load a good model in time.
With 19 it would be a seventieth.
"""


@dataclass(frozen=True, slots=True)
class EndedChild:
    """What a process has left: its exit status, negative for a signal, and what it has written."""

    status: int | None
    output: bytes
    errors: bytes


async def run_child(*command: str, seconds: float, cwd: Path, environment: Mapping[str, str]) -> EndedChild:
    """Run a process to its end.

    Raises TimeoutError after `seconds`. The process is killed then, and also when the caller is cancelled.
    """
    process = await asyncio.create_subprocess_exec(
        *NICED,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return EndedChild(process.returncode, output, errors)
