"""Every setting of HotSwap in one object, built once at each composition root and passed on.

Sources, strongest first: environment variables (`HOTSWAP_POSTGRES__URL`: prefix, then nested names), `.env`, and the
TOML file named by `HOTSWAP_CONFIG`. Temporal's client is configured by Temporal's own environment variables and
profiles (`TEMPORAL_ADDRESS`, ...), not here. The embedded stack is only another source of the same variables.
"""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hotswap.schemas.fields import told
from hotswap.settings.access import LimitSettings, OidcSettings, SecuritySettings, is_private_address
from hotswap.settings.rollouts import (
    AnalysisSettings,
    CapacitySettings,
    DeploymentSettings,
    NotificationSettings,
    PromotionSettings,
)
from hotswap.settings.serving import (
    AgentSettings,
    GatewaySettings,
    InferenceSettings,
    ProxySettings,
    RaySettings,
    ServingSettings,
)
from hotswap.settings.stores import (
    Encryption,
    PostgresSettings,
    RedisSettings,
    RetentionSettings,
    StorageSettings,
    StorageType,
)
from hotswap.settings.telemetry import TelemetrySettings

__all__ = [
    "AgentSettings",
    "AnalysisSettings",
    "CapacitySettings",
    "DatabaseSettings",
    "DeploymentSettings",
    "Encryption",
    "GatewaySettings",
    "InferenceSettings",
    "LimitSettings",
    "NotificationSettings",
    "OidcSettings",
    "PostgresSettings",
    "PromotionSettings",
    "ProxySettings",
    "RaySettings",
    "RedisSettings",
    "ReplicaSettings",
    "RetentionSettings",
    "SecuritySettings",
    "ServingSettings",
    "Settings",
    "SettingsError",
    "ShipperSettings",
    "StorageSettings",
    "StorageType",
    "TelemetrySettings",
    "TrafficAgentSettings",
    "is_private_address",
    "load",
]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it on one line."""


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="HOTSWAP_", env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        config = os.environ.get("HOTSWAP_CONFIG")
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(config))) if config else sources


class DatabaseSettings(_FromEnvironment):
    """Settings of the process that migrates the schema: the database, as its owner."""

    postgres: PostgresSettings


class ReplicaSettings(_FromEnvironment):
    """Settings of a replica: no database, no Redis, no keys but those of the artifacts."""

    storage: StorageSettings
    serving: ServingSettings = ServingSettings()


class ShipperSettings(_FromEnvironment):
    """Settings of the process that ships a node's records."""

    redis: RedisSettings
    serving: ServingSettings = ServingSettings()


class TrafficAgentSettings(_FromEnvironment):
    """Settings of a traffic agent, which has no signing key."""

    redis: RedisSettings
    ray: RaySettings
    security: SecuritySettings
    oidc: OidcSettings = OidcSettings()
    agent: AgentSettings = AgentSettings()
    gateway: GatewaySettings = GatewaySettings()
    limits: LimitSettings = LimitSettings()


class Settings(TrafficAgentSettings):
    """Settings of the control loop (API, worker, recorder): all of them."""

    postgres: PostgresSettings
    storage: StorageSettings
    deployments: DeploymentSettings = DeploymentSettings()
    proxies: ProxySettings = ProxySettings()
    capacity: CapacitySettings = CapacitySettings()
    analysis: AnalysisSettings = AnalysisSettings()
    notifications: NotificationSettings = NotificationSettings()
    serving: ServingSettings = ServingSettings()
    inference: InferenceSettings = InferenceSettings()
    retention: RetentionSettings = RetentionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


SettingsT = TypeVar("SettingsT", bound=_FromEnvironment)


def load(kind: type[SettingsT]) -> SettingsT:
    """Read one process's settings from the environment.

    Raises:
        SettingsError: on the first missing or wrong setting, naming its environment variable.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "HOTSWAP_" + "__".join(str(part).upper() for part in _place(kind, first["loc"]))
        raise SettingsError(f"setting {name}: {told(first)}") from None


def _place(kind: type[BaseModel], at: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where a setting is missing: of a missing section, its first setting without a default."""
    section = kind.model_fields[str(at[0])].annotation if len(at) == 1 and at[0] in kind.model_fields else None
    if not isinstance(section, type) or not issubclass(section, BaseModel):
        return at
    return (*at, *[name for name, field in section.model_fields.items() if field.is_required()][:1])
