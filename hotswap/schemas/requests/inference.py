"""Inference that is answered later."""

import json
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from hotswap.schemas.requests.base import Body


class AskLater(Body):
    """`POST /inference/{model}/async`: one instance or a batch, as in the other two forms."""

    model_config = ConfigDict(json_schema_extra={"example": {"features": [0.1, 0.2]}})

    features: Any = Field(None, description="the features of one instance, as the model's schema says")
    instances: list[Any] | None = Field(
        None, min_length=1, max_length=10_000, description="the features of many instances"
    )
    version: str | None = Field(
        None, max_length=100, description="the version to ask; if it doesn't serve, the request fails"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if len(self.model_fields_set & {"features", "instances"}) != 1:
            raise ValueError("exactly one of features and instances is needed")
        return self

    @property
    def is_batch(self) -> bool:
        return "instances" in self.model_fields_set

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object to send; an instance may be null, or have nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def as_asked(self) -> str:
        """Return the body that replicas take."""
        return json.dumps(self.model_dump(exclude_unset=True))
