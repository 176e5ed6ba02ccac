"""The truth about traffic and replicas: routes with their fences, and the applications that should exist."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.domain.vocabulary import Environment
from hotswap.persistence.tables.base import Base, Now


class TrafficRoute(Base):
    """One model's route in one environment. A row outlives its arms: the fence must not be forgotten."""

    __tablename__ = "traffic_routes"

    environment: Mapped[Environment] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    stable: Mapped[dict[str, Any] | None]
    candidate: Mapped[dict[str, Any] | None]
    candidate_weight: Mapped[int] = mapped_column(server_default=text("0"))
    shed: Mapped[int] = mapped_column(server_default=text("0"))
    epoch: Mapped[int]
    sequence: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(server_default=Now)


class TrafficEpoch(Base):
    """The epoch of each workflow run that ever wrote a route."""

    __tablename__ = "traffic_epochs"
    __table_args__ = (UniqueConstraint("environment", "model", "epoch"),)

    environment: Mapped[Environment] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]


class PlanGeneration(Base):
    """One row: its lock orders all changes, so generation N of a lineage holds exactly the changes up to N.

    `installation` is made with the database and stays through backups. `lineage` grows when the database was restored.
    """

    __tablename__ = "plan_generation"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int]
    lineage: Mapped[int] = mapped_column(server_default=text("0"))
    installation: Mapped[uuid.UUID] = mapped_column(server_default=text("gen_random_uuid()"))


class DesiredApplication(Base):
    __tablename__ = "desired_applications"

    name: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[Environment]
    model: Mapped[str]
    version: Mapped[str]
    deployment_id: Mapped[str]
    spec: Mapped[dict[str, Any]]
    replicas: Mapped[int]
    full_replicas: Mapped[int]
    reserved: Mapped[int] = mapped_column(server_default=text("0"))
    """Counted for it while its deployment is under way, also before there are so many."""
    set_aside_reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class LeaseRow(Base):
    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class ProxyReportRow(Base):
    """A report that an agent sent through the API while Redis was away."""

    __tablename__ = "proxy_reports"

    proxy: Mapped[str] = mapped_column(primary_key=True)
    report: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(server_default=Now)
