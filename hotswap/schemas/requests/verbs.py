"""Commands to a deployment that is under way."""

from pydantic import ConfigDict, Field

from hotswap.schemas.fields import Flag, Whole
from hotswap.schemas.requests.base import Body, Text
from hotswap.schemas.requests.deployments import Replicas


class Say(Body):
    """The body of a command to a deployment, which may be left out."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "errors at checkout"}})

    reason: Text | None = None


class SayApprove(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"step": 0, "reason": "looked at by two of us"}})

    step: Whole | None = Field(
        None, ge=0, description="the step to approve, 0 for the start; absent: the one that waits now"
    )


class SayGoTo(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"step": 2}})

    step: Whole = Field(ge=1, description="the step to go to, counted from 1")


class SayScale(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"replicas": 3, "reason": "a sale begins"}})

    replicas: Replicas = Field(description="replicas of the active version; if it scales by load, their minimum")


class SayPromote(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"full": True}})

    full: Flag = Field(False, description="go to 100% at once, instead of to the next step")
