"""Commands to a deployment that is under way."""

from pydantic import ConfigDict, Field

from hotswap.schemas.fields import Flag, Whole
from hotswap.schemas.requests.base import Body, Text
from hotswap.schemas.requests.deployments import Replicas


class Say(Body):
    """The body, if any, of what is said to a deployment."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "errors at checkout"}})

    reason: Text | None = None


class SayApprove(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"step": 0, "reason": "looked at by two of us"}})

    step: Whole | None = Field(None, ge=0, description="the wait that is meant; absent: the one that waits now")


class SayGoTo(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"step": 2}})

    step: Whole = Field(ge=1, description="the step to be at, counted from 1")


class SayScale(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"replicas": 3, "reason": "a sale begins"}})

    replicas: Replicas = Field(description="of what serves now; where it scales by load, the fewest of them")


class SayPromote(Say):
    model_config = ConfigDict(json_schema_extra={"example": {"full": True}})

    full: Flag = Field(False, description="go to 100% at once, instead of to the next step")
