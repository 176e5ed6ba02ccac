"""The login of a local user."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from hotswap.schemas.requests.base import Body


class Login(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"user": "ann", "password": "correct horse battery"}})

    user: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1_024)] = Field(
        json_schema_extra={"format": "password"}
    )
