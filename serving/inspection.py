"""Looks into artifacts without trusting them: fetched here, loaded only in a process of its own.

The child has no secret in its environment, bounded memory and time, and one JSON line to answer with; that it crashes,
hangs or eats its memory is a finding about the artifact, never this process's trouble.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import Inspection, VersionRef
from hotswap.domain.validation import Check, CheckName, ValidationReport, completed
from hotswap.domain.vocabulary import Framework
from serving import checks
from serving.artifacts import ArtifactCache

TIMEOUT_SECONDS = 120.0


class SubprocessInspector:
    """Implements `hotswap.ports.Inspector`.

    `max_memory_bytes` bounds what loading and golden requests may take; `trusted_types` as `serving.runtimes.Terms`.
    """

    def __init__(self, cache: ArtifactCache, *, max_memory_bytes: int, trusted_types: Collection[str] = ()) -> None:
        self._cache = cache
        self._trusted_types = trusted_types
        self._max_memory_bytes = max_memory_bytes

    async def inspect(self, uri: str, *, framework: Framework, expected_sha256: str | None) -> Inspection:
        directory, artifact = await asyncio.to_thread(self._cache.add, uri, expected_sha256=expected_sha256)
        found = await self._look(framework, directory)
        if "problem" in found:
            raise ValidationFailed.of(found.get("field", "artifactPath"), found["problem"])
        return Inspection(artifact, found["inputSchema"], found["outputSchema"])

    async def validate(self, version: VersionRef) -> ValidationReport:
        return completed([check async for check in self._checks(version)])

    async def _checks(self, version: VersionRef) -> AsyncIterator[Check]:
        """Up to the first failure without which nothing more can be said."""
        artifact, storage = version.artifact, self._cache.storage
        try:
            size = await asyncio.to_thread(storage.size, artifact.uri)
        except ValidationFailed as problem:
            yield Check(CheckName.ARTIFACT, False, problem.message)
            return
        yield Check(CheckName.ARTIFACT, True, f"{artifact.uri} is there")
        yield (fits := checks.size(size, storage.max_artifact_bytes))
        if not fits.passed:
            return
        try:
            directory = await asyncio.to_thread(self._cache.fetch, artifact)
        except ValidationFailed as problem:
            if any(detail.field == "checksum" for detail in problem.details):
                yield Check(CheckName.CHECKSUM, False, problem.message)
                return
            yield Check(CheckName.CHECKSUM, True, f"sha256 {artifact.sha256}")
            yield Check(CheckName.ARCHIVE, False, problem.message)
            return
        yield Check(CheckName.CHECKSUM, True, f"sha256 {artifact.sha256}")
        yield Check(CheckName.ARCHIVE, True, "safe to unpack: plain files below it, and bounded")
        found = await self._look(version.framework, directory)
        if "problem" in found:
            yield Check(CheckName.LOADS, False, found["problem"])
            return
        yield Check(CheckName.LOADS, True, f"in {found['loadSeconds']:.2f} s")
        yield checks.schemas(version, found)
        yield checks.golden(found["golden"], found["problems"])
        yield checks.memory(found["memoryBytes"], self._max_memory_bytes)
        yield checks.latency(found["latencyMs"], version.baseline.get("latencyMs"))
        yield checks.accuracy(found["sample"], version.baseline.get("accuracy"))

    async def _look(self, framework: Framework, directory: Path) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "serving.inspect_child",
            framework,
            str(directory),
            str(self._max_memory_bytes),
            *self._trusted_types,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
        except TimeoutError:
            return {"problem": f"loading it and its golden requests took longer than {TIMEOUT_SECONDS:g} s"}
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            found: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no word of it"]
            return {"problem": f"loading it ended the process (exit status {process.returncode}): {last[0][:300]}"}
        return found
