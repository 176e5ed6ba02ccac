"""Envoy's acceptance of a file: it repeats the version of what it has taken, and tells only its log why it refused."""

import asyncio
import time
from pathlib import Path

from serving.envoy.admin import EnvoyAdmin

TAKE_SECONDS = 3.0


class ConfigNotAccepted(Exception):
    """Envoy didn't take a file in time; the message says why as far as Envoy tells."""


async def await_accepted(admin: EnvoyAdmin, file: str, version: str, *, log: Path | None) -> None:
    """Return when Envoy has this version of a file (`cds`, `rds` or `ecds`). Raises ConfigNotAccepted.

    `log` is where Envoy writes its log, if that is known.
    """
    deadline = time.monotonic() + TAKE_SECONDS
    while getattr(await admin.accepted_versions(), file) != version:
        if time.monotonic() > deadline:
            raise ConfigNotAccepted(f"Envoy has not taken {file}.json{_rejection(log)}")
        await asyncio.sleep(0.002)


def _rejection(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if "Filesystem config update" in line]
    return f": {said[-1][:500]}" if said else ""
