"""Requests that create a service token, or give it another secret."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from hotswap.domain.access import MOST_TEAM_LENGTH, Grant
from hotswap.domain.ids import SERVICE_ID_PREFIX
from hotswap.domain.vocabulary import Role
from hotswap.schemas.fields import Duration
from hotswap.schemas.requests.base import Body, Text

LONGEST_LIFE, LONGEST_OVERLAP = timedelta(days=366), timedelta(days=30)


def _grant(text: str) -> str:
    if Grant.parse(text).role is Role.TRAFFIC_AGENT:
        raise ValueError("TrafficAgent is the traffic agents' own role, whose tokens `hotswap up` makes")
    return text


def _no_id(name: str) -> str:
    if name.startswith(SERVICE_ID_PREFIX):
        raise ValueError(f"begins with {SERVICE_ID_PREFIX}, as ids do; take another name")
    return name


_ROLES = "|".join(role for role in Role if role is not Role.TRAFFIC_AGENT)
GrantText = Annotated[
    str,
    StringConstraints(max_length=300),
    AfterValidator(_grant),
    WithJsonSchema({"type": "string", "pattern": rf"^([^\x00]{{1,{MOST_TEAM_LENGTH}}}:)?({_ROLES})$"}),
]


class CreateToken(Body):
    """`POST /tokens`. A role counts everywhere, or for one team's models: `payments:MLEngineer`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "checkout", "roles": ["Application"], "expiresIn": "P90D"}}
    )

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), AfterValidator(_no_id)] = (
        Field(description="the audit log calls it service:NAME")
    )
    roles: list[GrantText] = Field(min_length=1, max_length=50)
    expires_in: Duration = Field(timedelta(days=90), gt=timedelta(0), le=LONGEST_LIFE)
    reason: Text | None = None

    @property
    def grants(self) -> frozenset[Grant]:
        return frozenset(map(Grant.parse, self.roles))


class RotateToken(Body):
    """`POST /tokens/{token}/rotate`: the present secret stays valid for `overlap`."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap": "PT1H", "reason": "yearly"}})

    overlap: Duration = Field(timedelta(days=1), ge=timedelta(0), le=LONGEST_OVERLAP)
    reason: Text | None = None
