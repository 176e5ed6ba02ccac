"""The words, ids and numbers that paths and queries take. What stands in bodies is in `hotswap.schemas.requests`."""

from typing import Annotated

from fastapi import Path, Query

from hotswap.domain.proxies import PROXY_NAME
from hotswap.schemas.requests import REQUEST_ID, Time

# What stands in a path goes into a query as it is, so its form is checked like a body's.
ModelId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the model's id or its name")]

VersionId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,99}$", description="the version's number, its id or an alias")
]

AliasName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="a version's name, such as champion")]

DeploymentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]

RequestId = Annotated[str, Path(pattern=REQUEST_ID, description="the requestId of the prediction")]

FreezeId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]

TokenId = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="the token's id, or its name while it is in use")
]

ProxyName = Annotated[str, Path(pattern=PROXY_NAME, max_length=253, description="the proxy's name, such as envoy-0")]

UploadId = Annotated[str, Path(pattern=r"^upl-[a-z0-9]{1,40}$", description="the upload's id")]

Limit = Annotated[int, Query(ge=1, le=200)]

Offset = Annotated[int, Query(ge=0, le=1_000_000)]

QueryWord = Annotated[str | None, Query(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]

Since = Annotated[Time | None, Query(description="from this time on, with a time zone")]

Until = Annotated[Time | None, Query(description="before this time, with a time zone")]
