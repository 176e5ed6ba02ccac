"""The base of all models that people and processes write: camelCase in JSON, frozen, and nothing unknown in it."""

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from hotswap.schemas.fields import Duration as AnyDuration


class Message(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


Duration = Annotated[AnyDuration, Field(ge=timedelta(0), le=timedelta(days=30))]
"""ISO-8601 in JSON."""
