"""The request that judges a past deployment again."""

from typing import Any

from pydantic import ConfigDict, Field

from hotswap.schemas.requests.base import Body


class Replay(Body):
    """The policy to judge by: of `strategyConfig` whatever shall be otherwise than it was."""

    model_config = ConfigDict(json_schema_extra={"example": {"strategyConfig": {"canaryPercentage": 5}}})

    strategy_config: dict[str, Any] = Field(default_factory=dict)
