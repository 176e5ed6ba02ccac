"""Only what has failed and may be overridden can be let pass."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from hotswap.domain.errors import Conflict, NotFound, ValidationFailed, VersionNotFound
from hotswap.domain.registry import VersionEntry
from hotswap.domain.validation import (
    CheckName,
    LatestValidation,
    StoredOverride,
    ValidationCheck,
    ValidationReport,
    checks_to_override,
)
from hotswap.registry.validation import ValidationOverrides
from tests.unit.registry.reading import FakeRegistryReader

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def seen(*failed: CheckName) -> LatestValidation:
    checks = (ValidationCheck(name, name not in failed, "as measured") for name in CheckName)
    return LatestValidation(ValidationReport(tuple(checks)), "dep-1", NOW)


@pytest.mark.parametrize(
    ("wanted", "let_pass"),
    [
        ([], ["memory", "latency"]),
        (["latency"], ["latency"]),
        (["latency", "memory"], ["memory", "latency"]),
    ],
)
def test_what_failed_and_may_be_overridden_is_let_pass(wanted: list[str], let_pass: list[str]) -> None:
    latest = seen(CheckName.MEMORY, CheckName.LATENCY, CheckName.GOLDEN)
    assert checks_to_override(latest, wanted) == let_pass


@pytest.mark.parametrize(
    ("latest", "wanted", "refusal", "message"),
    [
        pytest.param(LatestValidation(), [], Conflict, "has no failed check", id="nothing was validated"),
        pytest.param(seen(), [], Conflict, "has no failed check", id="nothing failed"),
        pytest.param(
            seen(CheckName.CHECKSUM), ["checksum"], ValidationFailed, "checksum can't be overridden", id="it is unsafe"
        ),
        pytest.param(
            seen(CheckName.MEMORY), ["latency"], Conflict, "latency has not failed .* of dep-1", id="it has not failed"
        ),
        pytest.param(
            seen(CheckName.GOLDEN), [], Conflict, "these failed checks can't be overridden: golden requests", id="none"
        ),
    ],
)
def test_nothing_else_is(latest: LatestValidation, wanted: list[str], refusal: type[Exception], message: str) -> None:
    with pytest.raises(refusal, match=message):
        checks_to_override(latest, wanted)


@dataclass
class FakeValidations:
    """One version's newest report, and its override."""

    seen: LatestValidation = field(default_factory=lambda: seen(CheckName.LATENCY))

    async def latest(self, version_id: str) -> LatestValidation:
        assert version_id == "ver-1"
        return self.seen

    async def override(self, version_id: str, *, checks: Collection[str], reason: str, by: str) -> None:
        self.seen = replace(self.seen, override=StoredOverride(list(checks), reason, by, NOW))

    async def withdraw(self, version_id: str, *, reason: str | None, by: str) -> None:
        if self.seen.override is None:
            raise NotFound("its validation has no override")
        self.seen = replace(self.seen, override=None)


async def test_an_override_holds_until_it_is_withdrawn(version: VersionEntry) -> None:
    registry = FakeRegistryReader(versions={("fraud", "champion"): version})
    overrides = ValidationOverrides(registry, FakeValidations())
    done = await overrides.override("fraud", "champion", checks=[], reason="by design", by="root")
    assert done.version is version.ref
    assert done.latest.override == StoredOverride(["latency"], "by design", "root", NOW)
    assert await overrides.latest("fraud", "champion") == done
    assert (await overrides.withdraw("fraud", "champion", reason=None, by="root")).latest.override is None
    with pytest.raises(NotFound):
        await overrides.withdraw("fraud", "champion", reason=None, by="root")
    with pytest.raises(VersionNotFound):
        await overrides.latest("fraud", "2.0.0")
