"""The request that judges a past deployment again."""

from typing import Any

from pydantic import ConfigDict, Field

from hotswap.schemas.requests.base import Body


class Replay(Body):
    """The policy to judge by: the fields of `strategyConfig` that differ from the recorded ones."""

    model_config = ConfigDict(json_schema_extra={"example": {"strategyConfig": {"canaryPercentage": 5}}})

    strategy_config: dict[str, Any] = Field(default_factory=dict)
