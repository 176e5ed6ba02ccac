"""Requests that upload artifacts, and that remove those no version refers to."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from hotswap.schemas.fields import Flag, Whole
from hotswap.schemas.requests.base import Body
from hotswap.schemas.requests.registration import Checksum


class BeginUpload(Body):
    """`POST /models/{model}/uploads`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"sha256": "ab" * 32, "sizeBytes": 52428800, "fileName": "fraud.tar.gz"}}
    )

    sha256: Checksum = Field(description="the sha256 of the whole file; registration checks it")
    size_bytes: Whole = Field(ge=1)
    file_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")] = Field(
        "model.tar", description="the last part of the object's key"
    )


class CollectGarbage(Body):
    """`POST /artifacts/gc`."""

    model_config = ConfigDict(json_schema_extra={"example": {"apply": True, "prefix": "uploads/fraud-detection/"}})

    apply: Flag = Field(False, description="remove the artifacts, instead of only listing them")
    prefix: Annotated[str, StringConstraints(max_length=512, pattern=r"^[A-Za-z0-9._/-]*$")] = Field(
        "uploads/",
        description="only keys with this prefix, which `hotswap push` uses by default; empty: the whole bucket",
    )
