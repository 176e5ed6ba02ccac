"""A version is stored once and never changes; its model comes with the first one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from hotswap.domain.application import ArtifactRef
from hotswap.domain.auditing import AuditChange
from hotswap.domain.contract import NON_FINITE
from hotswap.domain.errors import Conflict
from hotswap.domain.registry import Inspection, NewModel, NewVersion, RegisteredModel, Registration, VersionRef
from hotswap.domain.vocabulary import Framework
from hotswap.registry.versions import Registrar
from tests.unit.registry.conftest import NOW

INSPECTION = Inspection(
    ArtifactRef("s3://ml-models/fraud/1.tar.gz", "ab" * 32, 7), {"type": "array"}, {"type": "number"}, ("lifelines==1",)
)
WANTED = Registration(
    "fraud", "1.0.0", Framework.ONNX, "s3://ml-models/fraud/1.tar.gz", requested_by="dora", derived_from=("ver-0",)
)


@dataclass
class FakeRegistrations:
    """Models by name and versions by number; `removed` are artifacts that were removed lately."""

    models: dict[str, RegisteredModel] = field(default_factory=dict)
    versions: dict[str, NewVersion] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    audited: list[AuditChange] = field(default_factory=list)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["FakeRegistrations"]:
        before = dict(self.models), dict(self.versions), list(self.audited)
        try:
            yield self
        except Exception:
            self.models, self.versions, self.audited = before
            raise

    async def claim_model(self, new: NewModel) -> RegisteredModel:
        fresh = RegisteredModel(
            **asdict(new), monitoring={}, active_version=None, is_archived=False, created_at=NOW, updated_at=NOW
        )
        return self.models.setdefault(new.name, fresh)

    async def find_version(self, model: RegisteredModel, version: str) -> VersionRef | None:
        return self.versions[version].ref if version in self.versions else None

    async def check_artifact(self, artifact_path: str) -> None:
        if artifact_path in self.removed:
            raise Conflict(f"{artifact_path} was removed by garbage collection")

    async def add_version(self, new: NewVersion, audit: AuditChange) -> None:
        self.versions[new.ref.version] = new
        self.audited.append(audit)

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        self.models[model.name] = replace(model, **changes)
        self.audited.append(audit)


@pytest.fixture
def rows() -> FakeRegistrations:
    return FakeRegistrations()


@pytest.fixture
def registrar(rows: FakeRegistrations) -> Registrar:
    return Registrar(rows)


async def test_the_same_registration_again_is_the_same_version(rows: FakeRegistrations, registrar: Registrar) -> None:
    first = await registrar.add_version(WANTED, INSPECTION)
    assert await registrar.add_version(WANTED, INSPECTION) == first
    assert (first.model, first.version, first.requirements) == ("fraud", "1.0.0", ("lifelines==1",))
    assert rows.versions["1.0.0"].derived_from == ("ver-0",)
    after = {"model": "fraud", "version": "1.0.0", "checksum": "ab" * 32}
    assert [(each.actor, each.action, each.after) for each in rows.audited] == [("dora", "register", after)]


async def test_a_version_never_gets_another_artifact(rows: FakeRegistrations, registrar: Registrar) -> None:
    await registrar.add_version(WANTED, INSPECTION)
    other = replace(INSPECTION, artifact=replace(INSPECTION.artifact, sha256="cd" * 32))
    with pytest.raises(Conflict, match=r"fraud 1\.0\.0 is registered already, with another artifact"):
        await registrar.add_version(WANTED, other)
    assert rows.versions["1.0.0"].ref.artifact == INSPECTION.artifact


@pytest.mark.parametrize(("owner", "is_owned_by"), [(None, "dora"), ("carl", "carl")])
@pytest.mark.parametrize(("idempotent", "is_idempotent"), [(None, True), (True, True), (False, False)])
async def test_a_model_comes_with_its_first_version(
    rows: FakeRegistrations,
    registrar: Registrar,
    owner: str | None,
    is_owned_by: str,
    idempotent: bool | None,
    is_idempotent: bool,
) -> None:
    await registrar.add_version(replace(WANTED, owner=owner, idempotent=idempotent, team="payments"), INSPECTION)
    model = rows.models["fraud"]
    assert (model.owner, model.is_idempotent, model.team) == (is_owned_by, is_idempotent, "payments")
    assert [each.action for each in rows.audited] == ["register"]


async def test_a_later_version_changes_idempotence_if_it_says_so(rows: FakeRegistrations, registrar: Registrar) -> None:
    for number, said in enumerate((None, False, None, False)):
        await registrar.add_version(replace(WANTED, version=f"1.{number}.0", idempotent=said), INSPECTION)
    assert rows.models["fraud"].is_idempotent is False
    (changed,) = [each for each in rows.audited if each.action == "change model"]
    assert (changed.before, changed.after) == ({"idempotent": True}, {"idempotent": False})
    assert changed.reason == "said so at the registration of 1.1.0"


async def test_nothing_is_added_to_an_archived_model(rows: FakeRegistrations, registrar: Registrar) -> None:
    await registrar.add_version(WANTED, INSPECTION)
    rows.models["fraud"] = replace(rows.models["fraud"], is_archived=True)
    with pytest.raises(Conflict, match="fraud is archived; `hotswap models restore fraud` takes it back into use"):
        await registrar.add_version(replace(WANTED, version="2.0.0"), INSPECTION)


@pytest.mark.parametrize(("team", "now"), [("fraud", "the model of team fraud"), (None, "a model of no team")])
async def test_a_caller_of_one_team_is_held_to_it(
    rows: FakeRegistrations, registrar: Registrar, team: str | None, now: str
) -> None:
    await registrar.add_version(replace(WANTED, team=team), INSPECTION)
    held = replace(WANTED, version="2.0.0", held_to="payments")
    with pytest.raises(Conflict, match=f"fraud has become {now} since this was let through for team payments"):
        await registrar.add_version(held, INSPECTION)
    assert list(rows.versions) == ["1.0.0"]
    rows.models["fraud"] = replace(rows.models["fraud"], team="payments")
    assert (await registrar.add_version(held, INSPECTION)).version == "2.0.0"


async def test_an_artifact_that_was_removed_is_not_registered(rows: FakeRegistrations, registrar: Registrar) -> None:
    rows.removed = {INSPECTION.artifact.uri}
    with pytest.raises(Conflict, match="was removed by garbage collection"):
        await registrar.add_version(WANTED, INSPECTION)
    assert (rows.models, rows.versions, rows.audited) == ({}, {}, [])


@pytest.mark.parametrize("allows", [False, True])
async def test_answers_that_may_be_no_number_are_marked_in_their_schema(registrar: Registrar, allows: bool) -> None:
    version = await registrar.add_version(replace(WANTED, allows_non_finite=allows), INSPECTION)
    assert version.output_schema == {"type": "number"} | ({NON_FINITE: True} if allows else {})
