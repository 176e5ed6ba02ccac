"""What people say to a deployment under way."""

from pydantic import (
    Field,
)

from api.schemas.base import Body, Text
from api.schemas.deployments import Replicas


class Say(Body):
    """The body, if any, of what is said to a deployment."""

    reason: Text | None = None


class SayApprove(Say):
    step: int | None = Field(None, ge=0, description="the wait that is meant; absent: the one that waits now")


class SayGoTo(Say):
    step: int = Field(ge=1, description="the step to be at, counted from 1")


class SayScale(Say):
    replicas: Replicas = Field(description="of what serves now; where it scales by load, the fewest of them")


class SayPromote(Say):
    full: bool = Field(False, description="go to 100% at once, instead of to the next step")
