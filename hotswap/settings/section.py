"""What every group of settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group that is closed: a misspelt setting stops the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)
