"""Looks into artifacts without trusting them: fetched here, loaded only in a process of its own.

The child has no secret in its environment, bounded memory and time, and one JSON line to answer with; that it crashes,
hangs or eats its memory is a finding about the artifact, never this process's trouble.
"""

import asyncio
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import Check, Inspection, ValidationReport, VersionRef
from hotswap.domain.vocabulary import Framework
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
        checks: list[Check] = []
        try:
            directory = await asyncio.to_thread(self._cache.fetch, version.artifact)
        except ValidationFailed as problem:
            return ValidationReport((Check("artifact", False, problem.message),))
        checks.append(Check("artifact", True, f"sha256 {version.artifact.sha256}, safe to unpack"))
        found = await self._look(version.framework, directory)
        if "problem" in found:
            return ValidationReport((*checks, Check("model loads", False, found["problem"])))
        checks.append(Check("model loads", True, f"in {found['loadSeconds']:.2f} s"))
        same = _as_stored(found["inputSchema"]) == _as_stored(version.input_schema)
        checks.append(Check("schemas", same, "as registered" if same else "the graph's inputs differ from the schema"))
        checks.append(_golden_check(found["golden"], found["problems"]))
        checks.append(_memory_check(found["memoryBytes"], self._max_memory_bytes))
        checks.append(Check("latency", None, "no baseline was registered to compare with"))
        checks.append(Check("accuracy", None, "no labelled sample was registered"))
        return ValidationReport(tuple(checks))

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


def _golden_check(golden: int, problems: list[str]) -> Check:
    if golden:
        failed = f"{len(problems)} of {golden} failed; {problems[0]}" if problems else ""
        return Check("golden requests", not problems, failed or f"{golden} answered as expected")
    if problems:
        advice = "golden.json in the artifact would try what it is meant for"
        return Check("golden requests", False, f"one made up from the schema failed; {problems[0]}; {advice}")
    return Check("golden requests", True, "one made up from the schema was answered; the artifact has no golden.json")


def _memory_check(measured: int, limit: int) -> Check:
    return Check("memory", measured <= limit, f"{measured / 1e6:.0f} MB at its peak, of {limit / 1e6:.0f} MB allowed")


def _as_stored(schema: dict[str, Any]) -> Any:
    """Numbers as one kind: PostgreSQL writes the bound 3.4e38 as an integer, rounded to a float's digits."""
    return json.loads(json.dumps(schema), parse_int=float)
