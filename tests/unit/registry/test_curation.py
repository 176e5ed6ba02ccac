"""What may be changed of models and versions, and what the audit log is told of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hotswap.domain.auditing import AuditChange
from hotswap.domain.errors import AliasNotFound, Conflict, Unavailable, ValidationFailed, VersionNotFound
from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.registry import ModelEntry, ModelUse, RegisteredModel, RegisteredVersion, VersionEntry
from hotswap.domain.traffic import ProxyReport, TrafficChange, TrafficPlan
from hotswap.domain.vocabulary import Environment, VersionStatus
from hotswap.registry.curation import Curation

STAGING = Environment.STAGING


@dataclass
class FakeCurations:
    """One model with versions. What a block changes is there when it ends; what it says of that is in `audited`."""

    found: RegisteredModel
    versions: dict[str, RegisteredVersion]
    aliases: dict[str, str] = field(default_factory=dict)
    used: ModelUse = field(default_factory=ModelUse)
    generation: int = 1
    audited: list[AuditChange] = field(default_factory=list)
    is_open: bool = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["FakeCurations"]:
        self.is_open = True
        yield self
        self.is_open = False

    async def renew_plan(self) -> None:
        self.generation += 1

    async def model(self, id_or_name: str) -> RegisteredModel:
        return self.found

    async def version(self, model: RegisteredModel, version: str) -> RegisteredVersion:
        if version not in self.versions:
            raise VersionNotFound(f"{model.name} has no version {version}")
        return self.versions[version]

    async def alias(self, model: RegisteredModel, alias: str) -> RegisteredVersion | None:
        return self.versions[self.aliases[alias]] if alias in self.aliases else None

    async def use(self, model: RegisteredModel) -> ModelUse:
        return self.used

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        self.found = replace(self.found, **changes)
        self.audited.append(audit)

    async def update_version(self, version: RegisteredVersion, changes: Mapping[str, Any], audit: AuditChange) -> None:
        self.versions[version.version] = replace(self.versions[version.version], **changes)
        self.audited.append(audit)

    async def set_status(
        self, version: RegisteredVersion, status: VersionStatus, *, actor: str, reason: str | None
    ) -> None:
        self.versions[version.version] = replace(self.versions[version.version], status=status)

    async def move_alias(
        self, model: RegisteredModel, alias: str, to: RegisteredVersion | None, audit: AuditChange
    ) -> None:
        self.aliases.pop(alias, None)
        if to is not None:
            self.aliases[alias] = to.version
        self.audited.append(audit)


@dataclass
class FakePlans:
    curations: FakeCurations

    async def current(self) -> TrafficPlan:
        assert not self.curations.is_open, "others would be told of a plan that may never be"
        return TrafficPlan(self.curations.generation)

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        raise NotImplementedError

    async def begin_lineage(self, *, after: int) -> TrafficPlan:
        raise NotImplementedError

    async def proxies(self) -> list[RegisteredProxy]:
        raise NotImplementedError


@dataclass
class FakeBus:
    is_away: bool = False
    published: list[int] = field(default_factory=list)

    async def publish(self, plan: TrafficPlan) -> None:
        if self.is_away:
            raise Unavailable("Redis is away")
        self.published.append(plan.generation)

    def plans(self) -> AsyncIterator[TrafficPlan]:
        raise NotImplementedError

    async def report(self, report: ProxyReport) -> None:
        raise NotImplementedError

    async def proxies(self) -> list[RegisteredProxy]:
        raise NotImplementedError

    async def remove_proxy(self, proxy: str, *, incarnation: str = "") -> bool:
        raise NotImplementedError


@pytest.fixture
def curations(fraud: ModelEntry, version: VersionEntry) -> FakeCurations:
    first = version.version
    return FakeCurations(fraud.model, {"1.0.0": first, "2.0.0": replace(first, version_id="ver-2", version="2.0.0")})


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def curation(curations: FakeCurations, bus: FakeBus) -> Curation:
    return Curation(curations, FakePlans(curations), bus)


def told(curations: FakeCurations) -> list[tuple[str, object, object]]:
    return [(each.action, each.before, each.after) for each in curations.audited]


async def test_a_change_is_audited_and_what_is_so_already_is_none(curation: Curation, curations: FakeCurations) -> None:
    for _ in range(2):
        await curation.change("fraud", {"owner": "carl", "tags": []}, by="ann")
    assert curations.found.owner == "carl"
    before, after = {"owner": "dora", "tags": []}, {"owner": "carl", "tags": []}
    assert told(curations) == [("change model", before, after)]


@pytest.mark.parametrize("is_away", [False, True])
async def test_another_team_makes_another_plan_that_is_published_once_it_is_so(
    curation: Curation, curations: FakeCurations, bus: FakeBus, is_away: bool
) -> None:
    bus.is_away = is_away
    await curation.change("fraud", {"owner": "carl"}, by="ann")
    assert (curations.generation, bus.published) == (1, [])
    await curation.change("fraud", {"team": "payments"}, by="ann")
    assert (curations.generation, bus.published) == (2, [] if is_away else [2])


async def test_an_alias_goes_from_version_to_version(curation: Curation, curations: FakeCurations) -> None:
    for version in ("1.0.0", "1.0.0", "2.0.0"):
        await curation.give_alias("fraud", "champion", version, by="ann")
    assert curations.aliases == {"champion": "2.0.0"}
    await curation.take_alias("fraud", "champion", by="ann")
    assert told(curations) == [
        ("alias", {"champion": None}, {"champion": "1.0.0"}),
        ("alias", {"champion": "1.0.0"}, {"champion": "2.0.0"}),
        ("alias", {"champion": "2.0.0"}, {"champion": None}),
    ]
    with pytest.raises(AliasNotFound, match="no version of fraud is called champion"):
        await curation.take_alias("fraud", "champion", by="ann")
    with pytest.raises(ValidationFailed):
        await curation.give_alias("fraud", "1.0.0", "2.0.0", by="ann")
    with pytest.raises(VersionNotFound):
        await curation.give_alias("fraud", "champion", "3.0.0", by="ann")


async def test_an_empty_card_takes_it_away(curation: Curation, curations: FakeCurations) -> None:
    await curation.write_card("fraud", "1.0.0", "Not for cash.", by="ann")
    await curation.write_card("fraud", "1.0.0", "", by="ann")
    assert curations.versions["1.0.0"].card is None
    assert told(curations) == [
        ("describe", {"card": None}, {"card": "Not for cash."}),
        ("describe", {"card": "Not for cash."}, {"card": None}),
    ]


@pytest.mark.parametrize(
    ("status", "is_approved", "deprecated", "restored"),
    [
        (VersionStatus.REGISTERED, False, VersionStatus.DEPRECATED, VersionStatus.REGISTERED),
        (VersionStatus.VALIDATED, True, VersionStatus.DEPRECATED, VersionStatus.APPROVED),
        (VersionStatus.DEPLOYED, True, VersionStatus.DEPLOYED, VersionStatus.DEPLOYED),
    ],
)
async def test_a_deprecated_version_is_restored_to_what_is_known_of_it(
    curation: Curation,
    curations: FakeCurations,
    status: VersionStatus,
    is_approved: bool,
    deprecated: VersionStatus,
    restored: VersionStatus,
) -> None:
    first = curations.versions["1.0.0"]
    approved_at = first.created_at if is_approved else None
    curations.versions["1.0.0"] = replace(first, status=status, approved_at=approved_at)
    await curation.deprecate("fraud", "1.0.0", reason="old", by="ann")
    seen = curations.versions["1.0.0"]
    assert (seen.status, seen.is_deprecated, seen.deprecation) == (deprecated, True, "old")
    await curation.restore_version("fraud", "1.0.0", reason="a mistake", by="ann")
    seen = curations.versions["1.0.0"]
    assert (seen.status, seen.is_deprecated, seen.deprecation) == (restored, False, None)
    assert [each.reason for each in curations.audited] == ["old", "a mistake"]
    with pytest.raises(Conflict, match=r"fraud 1\.0\.0 is not deprecated, so there is nothing to restore"):
        await curation.restore_version("fraud", "1.0.0", reason=None, by="ann")


@pytest.mark.parametrize(
    ("used", "message"),
    [
        (
            ModelUse(serves=STAGING, under_way="dep-1"),
            f"fraud serves {STAGING}; a model with an active version can't be archived",
        ),
        (ModelUse(under_way="dep-1"), "dep-1 of fraud is under way; abort it, or wait for its end"),
    ],
)
async def test_a_model_in_use_is_not_archived(
    curation: Curation, curations: FakeCurations, used: ModelUse, message: str
) -> None:
    curations.used = used
    with pytest.raises(Conflict, match=message):
        await curation.archive("fraud", reason=None, by="ann")
    assert (curations.found.is_archived, curations.audited) == (False, [])


async def test_a_model_is_archived_and_restored_once(curation: Curation, curations: FakeCurations) -> None:
    with pytest.raises(Conflict, match="fraud is not archived, so there is nothing to restore"):
        await curation.restore_model("fraud", reason=None, by="ann")
    for _ in range(2):
        await curation.archive("fraud", reason="replaced", by="ann")
    await curation.restore_model("fraud", reason=None, by="ann")
    no, yes = {"isArchived": False}, {"isArchived": True}
    assert told(curations) == [("archive", no, yes), ("restore", yes, no)]
