"""The base of all tables: predictable names of constraints, and how Python's types are stored."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import Double, TypeDecorator

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.monitoring import AlertKind
from hotswap.domain.recording import RecordFeatures
from hotswap.domain.vocabulary import (
    DeploymentKind,
    Environment,
    Framework,
    InferenceStatus,
    ModelType,
    Strategy,
    VersionStatus,
)

E = TypeVar("E", bound=StrEnum)


class EnumText(TypeDecorator[E]):
    """An enum of the domain in a column of text, so that no row has to be parsed again outside."""

    impl = Text
    cache_ok = True

    def __init__(self, values: type[E]) -> None:
        super().__init__()
        self.values = values

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        """Read it. Raises ValueError for what this release doesn't know."""
        return None if value is None else self.values(value)


ENUMS = (
    AlertKind,
    DeploymentKind,
    DeploymentStatus,
    Environment,
    Framework,
    InferenceStatus,
    ModelType,
    RecordFeatures,
    Strategy,
    VersionStatus,
)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: JSONB,
    } | {each: EnumText(each) for each in ENUMS}


Now = func.now()
