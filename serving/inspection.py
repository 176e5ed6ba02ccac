"""Looks into artifacts without trusting them: fetched here, unpacked and loaded only in processes of their own.

A child has no secret in its environment, bounded memory and time, and one JSON line to answer with; that it crashes,
hangs or eats its memory is a finding about the artifact, never this process's trouble.

A person who may register can send many, so only a few are worked on at a time: `at_once` children at most, and twice
as many downloads, so that the next ones are fetched while those are loaded. All others wait, as coroutines.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from hotswap.domain.contract import allows_non_finite
from hotswap.domain.errors import Unavailable, ValidationFailed
from hotswap.domain.registry import Inspection, VersionRef
from hotswap.domain.validation import CheckName, ValidationCheck, ValidationReport, completed
from hotswap.domain.vocabulary import Framework
from hotswap.storage.calls import StorageCalls
from serving import checks
from serving.artifacts import ArtifactCache
from serving.children import EndedChild, run_child
from serving.requirements import install, lacking, resolve, said_by
from serving.runtimes import PLAIN, Terms

TIMEOUT_SECONDS = 240.0
"""Loading takes seconds, and ten times as long on a machine that has no processor to spare, since it is niced."""
UNPACKING_SECONDS = 600.0
"""An archive may unpack to 8 GiB, and on a busy machine its process is given little of it."""
FETCHED_FOR_EACH_CHILD = 2
SETTING = "HOTSWAP_SERVING__ALLOW_REQUIREMENTS"


class SubprocessInspector:
    """Implements `hotswap.ports.Inspector`.

    `max_memory_bytes` bounds what loading and golden requests may take, `at_once` how many children there are. Close
    it in the end.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        *,
        max_memory_bytes: int,
        terms: Terms = PLAIN,
        allow_requirements: bool = False,
        at_once: int = 1,
    ) -> None:
        self._cache = cache
        self.fetched_at_once = FETCHED_FOR_EACH_CHILD * at_once
        self._storage_calls = StorageCalls(self.fetched_at_once, patient=True)
        self._turn_of_child = asyncio.Semaphore(at_once)
        self._terms = terms
        self._allow_requirements = allow_requirements
        self._max_memory_bytes = max_memory_bytes

    async def inspect(
        self, uri: str, *, framework: Framework, expected_sha256: str | None, requirements: Sequence[str] = ()
    ) -> Inspection:
        self._check_allowed(requirements)
        directory, artifact = await self._storage_calls.run(
            self._cache.add, uri, expected_sha256=expected_sha256, unpacking=self._unpacking()
        )
        if self._allow_requirements:
            requirements = requirements or said_by(directory)
        pins = await self._resolved(requirements) if requirements else ()
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
            size = await self._storage_calls.run(storage.size, artifact.uri)
        except ValidationFailed as problem:
            yield ValidationCheck(CheckName.ARTIFACT, False, problem.message)
            return
        yield ValidationCheck(CheckName.ARTIFACT, True, f"{artifact.uri} is there")
        yield (fits := checks.size(size, storage.max_artifact_bytes))
        if not fits.passed:
            return
        try:
            directory = await self._storage_calls.run(self._cache.fetch, artifact, unpacking=self._unpacking())
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

    # --- children -----------------------------------------------------------------------------------------------------

    async def _resolved(self, requirements: Sequence[str]) -> tuple[str, ...]:
        async with self._turn_of_child:
            return await resolve(requirements)

    async def _look(self, framework: Framework, directory: Path, pins: Sequence[str]) -> dict[str, Any]:
        if not pins:
            async with self._turn_of_child:
                return await self._ask_child(framework, directory)
        scratch = ExitStack()
        try:
            # The turn comes after the thread: whoever unpacks has a thread while it waits for its turn.
            packages = await self._storage_calls.run(scratch.enter_context, self._cache.scratch())
            async with self._turn_of_child:
                await install(pins, packages)
                return await self._ask_child(framework, directory, {"PYTHONPATH": str(packages)})
        finally:  # in a thread too: packages may be gigabytes in ten thousand files
            await self._storage_calls.run(scratch.close)

    async def _ask_child(
        self, framework: Framework, directory: Path, more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        terms = {"trusted_types": list(self._terms.trusted_types), "custom_code": self._terms.custom_code}
        given = (framework, str(directory), str(self._max_memory_bytes), json.dumps(terms))
        try:
            child = await _run("serving.inspect_child", *given, seconds=TIMEOUT_SECONDS, cwd=directory, more=more)
        except TimeoutError:
            return {"problem": f"loading it and its golden requests took longer than {TIMEOUT_SECONDS:g} s"}
        if (found := _answer(child)) is None:
            return {"problem": f"loading it ended the process (exit status {child.status}): {_last_words(child)}"}
        return found

    def _unpacking(self) -> partial[None]:
        return partial(self._unpack, asyncio.get_running_loop())

    def _unpack(self, loop: asyncio.AbstractEventLoop, archive: Path, into: Path) -> None:
        """Unpack in a child; called in a thread. In this process it would take the processor from the event loop."""
        try:
            asyncio.run_coroutine_threadsafe(self._unpack_in_child(archive, into), loop).result()
        except CancelledError:
            raise Unavailable("the worker ends, and another one unpacks the artifact") from None

    async def _unpack_in_child(self, archive: Path, into: Path) -> None:
        async with self._turn_of_child:
            given = (str(archive), str(into))
            try:
                child = await _run("serving.unpack_child", *given, seconds=UNPACKING_SECONDS, cwd=into)
            except TimeoutError:
                raise Unavailable(
                    f"unpacking the archive took longer than {UNPACKING_SECONDS:g} s; it is tried again"
                ) from None
        if (found := _answer(child)) is None:
            raise OSError(f"unpacking ended with exit status {child.status}: {_last_words(child)}")
        if "problem" in found:
            raise ValidationFailed.of("artifactPath", found["problem"])

    def close(self) -> None:
        """Fetch nothing more."""
        self._storage_calls.close()


async def _run(
    module: str, *given: str, seconds: float, cwd: Path, more: Mapping[str, str] | None = None
) -> EndedChild:
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", **(more or {})}
    return await run_child(sys.executable, "-m", module, *given, seconds=seconds, cwd=cwd, environment=environment)


def _answer(child: EndedChild) -> dict[str, Any] | None:
    """Return what the child says in its last line; None where that is no answer."""
    try:
        found = json.loads(child.output.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) else None


def _last_words(child: EndedChild) -> str:
    lines = child.errors.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no word of it"
