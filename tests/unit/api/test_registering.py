"""What is told of a version that isn't there, by how its registration goes."""

from types import SimpleNamespace
from typing import Any

import pytest

from api.registering import telling_of_registration
from hotswap.domain.errors import Conflict, HotSwapError, ModelNotFound, Unavailable, ValidationFailed, VersionNotFound
from hotswap.schemas.responses import RegistrationStatus

PATH = "/api/v1/models/m/versions/2.0.0/registration"


class Registrations:
    def __init__(self, state: RegistrationStatus | HotSwapError | None) -> None:
        self.state = state
        self.asked = 0

    async def registration(self, model: str, version: str) -> RegistrationStatus | HotSwapError:
        assert (model, version) == ("m", "2.0.0")
        self.asked += 1
        if self.state is None:
            raise VersionNotFound("there was no registration of m 2.0.0")
        if isinstance(self.state, Unavailable):
            raise self.state
        return self.state


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
    parts: Any = SimpleNamespace(orchestration=Registrations(state))
    with pytest.raises(type(missing)) as raised:
        async with telling_of_registration(parts, "m", "2.0.0"):
            raise missing
    assert raised.value.message == told


async def test_nothing_is_asked_of_what_has_no_number_and_of_other_errors() -> None:
    parts: Any = SimpleNamespace(orchestration=Registrations(RegistrationStatus.RUNNING))
    with pytest.raises(ModelNotFound):
        async with telling_of_registration(parts, "m", None):
            raise ModelNotFound("it is not there")
    with pytest.raises(Conflict):
        async with telling_of_registration(parts, "m", "2.0.0"):
            raise Conflict("another one runs")
    async with telling_of_registration(parts, "m", "2.0.0"):
        pass
    assert parts.orchestration.asked == 0
