"""Commands of people to a deployment under way, and the answers."""

from typing import Annotated

from pydantic import Field, StringConstraints

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.base import Message

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
CommandText = Annotated[str, StringConstraints(max_length=2_000)]

API = "api"


class Request(Message):
    """`by` is who asks. It is proven only when it came through the API; from elsewhere it is recorded as claimed."""

    by: Name
    reason: CommandText | None = None
    via: str | None = None

    @property
    def is_claimed(self) -> bool:
        return self.via != API

    @property
    def actor(self) -> str:
        return f"{self.by} (claimed)" if self.is_claimed else self.by


class Approve(Request):
    """`proof` names the API's own record that `by` said it: anybody who may signal can write `via`."""

    proof: Annotated[str, StringConstraints(max_length=255)] | None = None
    step: int | None = Field(None, ge=0, description="the wait that is meant, 0 for the start; absent: the present one")


class Reject(Request):
    pass


class Pause(Request):
    pass


class Resume(Request):
    pass


class Promote(Request):
    """Ends the present bake as passed; with `full` it goes to 100% at once."""

    full: bool = False


class GoToStep(Request):
    step: int = Field(ge=1, description="the step to be at, counted from 1")


class Retry(Request):
    """Runs the analysis again that held the deployment."""


class Abort(Request):
    """Never refused: whatever could not be read of it is recorded, and it aborts all the same."""

    by: Name = "unknown"
    rollback: bool = Field(False, description="asked as a rollback: the same, under that reason")
    superseded_by: Name | None = Field(None, description="the deployment that takes its place")


class Rollback(Abort):
    """An abort by the name that operators know; what serves already is rolled back by a deployment of its own."""

    rollback: bool = True


class Scale(Request):
    """A command to have this number of replicas."""

    replicas: int = Field(ge=1)


class Answer(Message):
    """The answer to an update: what was done, in one sentence."""

    accepted: bool
    message: str
    status: DeploymentStatus
