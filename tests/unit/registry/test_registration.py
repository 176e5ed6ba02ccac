"""A version is registered once, and who asks for one that isn't there is told how its registration goes."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from hotswap.domain.errors import Conflict, HotSwapError, ModelNotFound, Unavailable, ValidationFailed, VersionNotFound
from hotswap.domain.registry import Registration, VersionEntry, VersionRef
from hotswap.messages import RegistrationInput
from hotswap.registry.registration import Registrations
from hotswap.schemas.requests import RegisterVersion
from hotswap.schemas.responses import RegistrationStatus
from tests.unit.registry.reading import FakeRegistryReader

PATH = "/api/v1/models/m/versions/2.0.0/registration"


@dataclass
class FakeRegistrationWorkflows:
    """`state` is how the registration of m 2.0.0 goes; None is that there was none.

    A registration adds `registers` to the registry; without it, the registration takes longer than anybody waits.
    """

    state: RegistrationStatus | HotSwapError | None = None
    registry: FakeRegistryReader = field(default_factory=FakeRegistryReader)
    registers: VersionEntry | None = None
    asked: int = 0
    begun: list[Registration] = field(default_factory=list)

    async def register(self, request: RegistrationInput) -> VersionRef | None:
        self.begun.append(request.registration)
        if self.registers is None:
            return None
        key = (request.registration.name, request.registration.version)
        self.registry.versions = {**self.registry.versions, key: self.registers}
        return self.registers.ref

    async def registration(self, model: str, version: str) -> RegistrationStatus | HotSwapError:
        assert (model, version) == ("m", "2.0.0")
        self.asked += 1
        if self.state is None:
            raise VersionNotFound("there was no registration of m 2.0.0")
        if isinstance(self.state, Unavailable):
            raise self.state
        return self.state


@dataclass
class FakeTeams:
    teams: dict[str, str | None] = field(default_factory=dict)

    async def of(self, *, model: str | None = None, deployment_id: str | None = None) -> str | None:
        if model not in self.teams:
            raise ModelNotFound(f"there is no model {model}")
        return self.teams[model]


def registrations(workflows: FakeRegistrationWorkflows, teams: FakeTeams | None = None) -> Registrations:
    return Registrations(workflows.registry, teams or FakeTeams(), workflows)


def wanted(**more: Any) -> RegisterVersion:
    body = {"name": "fraud", "version": "2.0.0", "framework": "ONNX", "artifactPath": "s3://ml-models/fraud/2.tar.gz"}
    return RegisterVersion.model_validate({**body, **more})


async def test_a_version_is_registered_once(version: VersionEntry) -> None:
    workflows = FakeRegistrationWorkflows(registers=version)
    asked = registrations(workflows)
    assert await asked.register(wanted(), by="dora", held_to="payments") == version
    with pytest.raises(Conflict, match=r"fraud 2\.0\.0 is registered already; a version never changes"):
        await asked.register(wanted(), by="dora", held_to=None)
    assert [(each.requested_by, each.held_to) for each in workflows.begun] == [("dora", "payments")]


async def test_a_registration_that_takes_longer_is_not_waited_for() -> None:
    assert await registrations(FakeRegistrationWorkflows()).register(wanted(), by="dora", held_to=None) is None


async def test_what_a_version_is_made_from_has_to_be_registered(version: VersionEntry) -> None:
    workflows = FakeRegistrationWorkflows(registers=version)
    workflows.registry.versions = {("fraud", "1.0.0"): version, ("other", "champion"): version}
    parents = [{"version": "1.0.0"}, {"model": "other", "version": "champion"}]
    await registrations(workflows).register(wanted(derivedFrom=parents), by="dora", held_to=None)
    assert [each.derived_from for each in workflows.begun] == [("ver-1",)], "each once"
    orphan = wanted(version="3.0.0", derivedFrom=[*parents, {"version": "0.1.0"}])
    with pytest.raises(ValidationFailed) as refused:
        await registrations(workflows).register(orphan, by="dora", held_to=None)
    assert [each.field for each in refused.value.details] == ["derivedFrom[2]"]
    assert len(workflows.begun) == 1


@pytest.mark.parametrize(("teams", "team"), [({}, "payments"), ({"fraud": "fraud"}, "fraud"), ({"fraud": None}, None)])
async def test_a_registered_model_keeps_its_team(teams: dict[str, str | None], team: str | None) -> None:
    asked = registrations(FakeRegistrationWorkflows(), FakeTeams(teams))
    assert await asked.team_of(wanted(team="payments")) == team


async def test_the_status_of_what_is_registered_is_asked_of_nobody(version: VersionEntry) -> None:
    workflows = FakeRegistrationWorkflows(RegistrationStatus.RUNNING)
    assert await registrations(workflows).status("m", "2.0.0") is RegistrationStatus.RUNNING
    workflows.registry.versions = {("m", "2.0.0"): version}
    assert await registrations(workflows).status("m", "2.0.0") is RegistrationStatus.COMPLETED
    assert workflows.asked == 1


@pytest.mark.parametrize("missing", [ModelNotFound("it is not there"), VersionNotFound("it is not there")])
@pytest.mark.parametrize(
    ("state", "told"),
    [
        pytest.param(
            RegistrationStatus.RUNNING,
            f"m 2.0.0 is still being registered; deploy it once GET {PATH} says Completed",
            id="it is being registered",
        ),
        pytest.param(
            ValidationFailed("there is no such object"),
            "m 2.0.0 is not there: its registration has failed (there is no such object); register it again",
            id="it has failed",
        ),
        pytest.param(RegistrationStatus.COMPLETED, "it is not there", id="it is long over"),
        pytest.param(None, "it is not there", id="there was none"),
        pytest.param(Unavailable("Temporal doesn't answer"), "it is not there", id="nobody knows"),
    ],
)
async def test_a_missing_version_says_how_its_registration_goes(
    state: RegistrationStatus | HotSwapError | None, told: str, missing: HotSwapError
) -> None:
    asked = registrations(FakeRegistrationWorkflows(state))
    with pytest.raises(type(missing)) as raised:
        async with asked.explaining("m", "2.0.0"):
            raise missing
    assert raised.value.message == told


async def test_nothing_is_asked_of_what_has_no_number_and_of_other_errors() -> None:
    workflows = FakeRegistrationWorkflows(RegistrationStatus.RUNNING)
    asked = registrations(workflows)
    with pytest.raises(ModelNotFound):
        async with asked.explaining("m", None):
            raise ModelNotFound("it is not there")
    with pytest.raises(Conflict):
        async with asked.explaining("m", "2.0.0"):
            raise Conflict("another one runs")
    async with asked.explaining("m", "2.0.0"):
        pass
    assert workflows.asked == 0
