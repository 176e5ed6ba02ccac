"""Looks into artifacts without trusting them: fetched here, loaded only in a process of its own.

The child has no secret in its environment, bounded memory and time, and one JSON line to answer with; that it crashes,
hangs or eats its memory is a finding about the artifact, never this process's trouble.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hotswap.domain.contract import allows_non_finite
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import Inspection, VersionRef
from hotswap.domain.validation import CheckName, ValidationCheck, ValidationReport, completed
from hotswap.domain.vocabulary import Framework
from serving import checks
from serving.artifacts import ArtifactCache
from serving.requirements import install, lacking, resolve, said_by
from serving.runtimes import PLAIN, Terms

TIMEOUT_SECONDS = 120.0
SETTING = "HOTSWAP_SERVING__ALLOW_REQUIREMENTS"


class SubprocessInspector:
    """Implements `hotswap.ports.Inspector`.

    `max_memory_bytes` bounds what loading and golden requests may take.
    """

    def __init__(
        self, cache: ArtifactCache, *, max_memory_bytes: int, terms: Terms = PLAIN, allow_requirements: bool = False
    ) -> None:
        self._cache = cache
        self._terms = terms
        self._allow_requirements = allow_requirements
        self._max_memory_bytes = max_memory_bytes

    async def inspect(
        self, uri: str, *, framework: Framework, expected_sha256: str | None, requirements: Sequence[str] = ()
    ) -> Inspection:
        self._check_allowed(requirements)
        directory, artifact = await asyncio.to_thread(self._cache.add, uri, expected_sha256=expected_sha256)
        if self._allow_requirements:
            requirements = requirements or said_by(directory)
        pins = await resolve(requirements) if requirements else ()
        found = await self._look(framework, directory, pins)
        if "problem" in found:
            raise ValidationFailed.of(found.get("field", "artifactPath"), found["problem"])
        return Inspection(artifact, found["inputSchema"], found["outputSchema"], pins)

    async def validate(self, version: VersionRef) -> ValidationReport:
        return completed([check async for check in self._checks(version)])

    async def _checks(self, version: VersionRef) -> AsyncIterator[ValidationCheck]:
        """Yield the checks, up to the first failure after which no other can be made."""
        artifact, storage = version.artifact, self._cache.storage
        try:
            size = await asyncio.to_thread(storage.size, artifact.uri)
        except ValidationFailed as problem:
            yield ValidationCheck(CheckName.ARTIFACT, False, problem.message)
            return
        yield ValidationCheck(CheckName.ARTIFACT, True, f"{artifact.uri} is there")
        yield (fits := checks.size(size, storage.max_artifact_bytes))
        if not fits.passed:
            return
        try:
            directory = await asyncio.to_thread(self._cache.fetch, artifact)
        except ValidationFailed as problem:
            if any(detail.field == "checksum" for detail in problem.details):
                yield ValidationCheck(CheckName.CHECKSUM, False, problem.message)
                return
            yield ValidationCheck(CheckName.CHECKSUM, True, f"sha256 {artifact.sha256}")
            yield ValidationCheck(CheckName.ARCHIVE, False, problem.message)
            return
        yield ValidationCheck(CheckName.CHECKSUM, True, f"sha256 {artifact.sha256}")
        yield ValidationCheck(CheckName.ARCHIVE, True, "safe to unpack: plain files below it, and bounded")
        try:
            self._check_allowed(version.requirements)
            found = await self._look(version.framework, directory, version.requirements)
        except ValidationFailed as problem:
            yield ValidationCheck(CheckName.REQUIREMENTS, False, problem.message)
            return
        yield checks.requirements(version.requirements, lacking(said_by(directory)))
        if "problem" in found:
            yield ValidationCheck(CheckName.LOADS, False, found["problem"])
            return
        yield ValidationCheck(CheckName.LOADS, True, f"in {found['loadSeconds']:.2f} s")
        yield checks.schemas(version, found)
        non_finite = [] if allows_non_finite(version.output_schema) else found["nonFinite"]
        yield checks.golden(found["golden"], found["problems"] + non_finite)
        yield checks.memory(found["memoryBytes"], self._max_memory_bytes)
        yield checks.latency(found["latencyMs"], version.baseline.get("latencyMs"))
        yield checks.accuracy(found["sample"], version.baseline.get("accuracy"))

    def _check_allowed(self, requirements: Sequence[str]) -> None:
        if requirements and not self._allow_requirements:
            raise ValidationFailed.of(
                "requirements",
                "versions bring no packages of their own here, since packages are code: where who registers is trusted,"
                f" the operator allows it with {SETTING}=true on the workers",
            )

    async def _look(self, framework: Framework, directory: Path, pins: Sequence[str]) -> dict[str, Any]:
        if not pins:
            return await self._ask_child(framework, directory)
        with ExitStack() as stack:
            packages = await asyncio.to_thread(stack.enter_context, self._cache.scratch())
            await install(pins, packages)
            return await self._ask_child(framework, directory, {"PYTHONPATH": str(packages)})

    async def _ask_child(
        self, framework: Framework, directory: Path, more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "serving.inspect_child",
            framework,
            str(directory),
            str(self._max_memory_bytes),
            json.dumps({"trusted_types": list(self._terms.trusted_types), "custom_code": self._terms.custom_code}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", **(more or {})},
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
