"""Every setting of HotSwap in one object, built once at each composition root and passed on.

Sources, strongest first: environment variables (`HOTSWAP_POSTGRES__URL`: prefix, then nested names), `.env`, and the
TOML file named by `HOTSWAP_CONFIG`. Temporal's client is configured by Temporal's own environment variables and
profiles (`TEMPORAL_ADDRESS`, ...), not here. The embedded stack is only another source of the same variables.
"""

import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hotswap.domain.access import Grant
from hotswap.domain.analysis import LATENCY_FLOOR_MS
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.vocabulary import Environment, Role, Strategy


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it on one line."""


class StorageType(StrEnum):
    MINIO = "MinIO"
    S3 = "S3"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PostgresSettings(_Section):
    url: SecretStr = Field(description="SQLAlchemy URL, such as postgresql+psycopg://user:password@host:5432/database")
    pool_size: int = Field(5, ge=1, description="connections that one process keeps")


class RedisSettings(_Section):
    url: SecretStr = Field(description="HotSwap's own Redis; never the one that holds Ray's state")


class Encryption(StrEnum):
    """Who encrypts what is written: the bucket as it is set up, or S3 by its own or a named key."""

    BUCKET = "bucket"
    SSE_S3 = "SSE-S3"
    SSE_KMS = "SSE-KMS"


class StorageSettings(_Section):
    type: StorageType = Field(StorageType.MINIO, description="MinIO or S3: one protocol, so nothing reads it yet")
    endpoint: str = Field("127.0.0.1:9000", description="host:port, without a scheme")
    access_key: SecretStr = Field(description="who reads the artifacts")
    secret_key: SecretStr = Field(description="its secret")
    bucket: str = Field("ml-models", description="the bucket that must be there for the API to be ready")
    use_tls: bool = Field(False, description="whether to speak TLS to the endpoint")
    region: str = Field("us-east-1", description="the bucket's region; any where the server has none")
    max_artifact_bytes: int = Field(2 * 1024**3, ge=1, description="a larger artifact is refused")
    public_endpoint: str | None = Field(
        None, description="host:port by which those who push reach S3, with TLS as `use_tls`; the endpoint when absent"
    )
    encryption: Encryption = Field(
        Encryption.BUCKET,
        description="asked of S3 for all that HotSwap writes: `SSE-S3`, `SSE-KMS`, or `bucket` for what that is set to",
    )
    kms_key_id: str | None = Field(None, description="the key of `SSE-KMS`")
    garbage_grace: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(hours=1),
        description="what no version refers to is left alone for so long; uploads and registrations take time",
    )

    @model_validator(mode="after")
    def _has_the_key_it_needs(self) -> Self:
        if (self.encryption is Encryption.SSE_KMS) != (self.kms_key_id is not None):
            raise ValueError("SSE-KMS and kms_key_id need each other")
        if self.encryption is Encryption.SSE_KMS and not self.use_tls:
            raise ValueError("S3 takes SSE-KMS over TLS only; set use_tls")
        return self


class PromotionSettings(_Section):
    """One environment's rule, as people write it: `{"activeIn": "Staging", "for": "PT1H"}`."""

    active_in: Environment = Field(alias="activeIn")
    at_least: timedelta = Field(timedelta(0), alias="for", ge=timedelta(0))

    def rule(self) -> PromotionRule:
        return PromotionRule(self.active_in, self.at_least)


class DeploymentSettings(_Section):
    default_strategy: Strategy = Field(Strategy.CANARY, description="the strategy where a deployment names none")
    max_concurrent: int = Field(5, ge=1, description="deployments that run at once; the others wait in order")
    queue_deadline: timedelta = Field(
        timedelta(days=30), gt=timedelta(0), description="how long a deployment may wait for its turn, and for its slot"
    )
    warmup_timeout: timedelta = Field(timedelta(minutes=2), description="how long a replica may take to warm up")
    approval_required: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}), description="environments whose deployments wait for an approval"
    )
    approval_deadline: timedelta = Field(
        timedelta(days=1),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="how long a start or a step may wait for its approval where the deployment doesn't say",
    )
    four_eyes: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}),
        description="environments where who asked for a deployment can't approve it, nor a name that nobody checked",
    )
    count_claimed_approvals: bool = Field(
        False, description="whether there an approval counts that came through Temporal, where names are only claimed"
    )
    monitoring_duration: timedelta = Field(
        timedelta(minutes=5), gt=timedelta(0), description="how long a step bakes where a deployment doesn't say"
    )
    latency_floor: timedelta = Field(
        timedelta(milliseconds=LATENCY_FLOOR_MS),
        ge=timedelta(0),
        description="a slowdown by less rolls nothing back where a deployment doesn't say; more where hosts are busy",
    )
    keep_previous: timedelta = Field(timedelta(minutes=30), description="how long a replaced version stays warm")
    promotion_policy: dict[Environment, PromotionSettings] = Field(
        {},
        description="where a version must be active, and for how long, before it may go to an environment: "
        '`{"Production": {"activeIn": "Staging", "for": "PT1H"}}`',
    )

    @field_validator("promotion_policy")
    @classmethod
    def _has_a_beginning(cls, policy: dict[Environment, PromotionSettings]) -> dict[Environment, PromotionSettings]:
        for environment in policy:
            way = [environment]
            while (rule := policy.get(way[-1])) is not None:
                way.append(rule.active_in)
                if rule.active_in in way[:-1]:
                    raise ValueError(f"{' waits for '.join(way)}: nothing could ever be deployed to any of them")
        return policy


class CapacitySettings(_Section):
    """What deployments may take of Ray's cluster."""

    team_gpus: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="the most GPUs of a team at a time over all its models; others have no limit"
    )
    cluster_grows: bool = Field(
        False, description="Ray's cluster adds nodes as it is asked to: then only a team's limit refuses a deployment"
    )
    allow_recreate: bool = Field(
        False,
        description="whether requests may be turned away where two versions have no room, if a deployment doesn't say",
    )


class AnalysisSettings(_Section):
    """Whom a metric may ask: addresses come from here only, never from a deployment."""

    prometheus_url: str | None = Field(
        None, pattern=r"^https?://", description="the Prometheus that metrics of source `prometheus` ask"
    )
    prometheus_token_file: Path | None = Field(None, description="bearer token that Prometheus wants, if it does")
    webhooks: dict[str, SecretStr] = Field(
        {}, description='by name, where metrics of source `webhook` ask: `{"fairness": "https://…"}`'
    )


class NotificationSettings(_Section):
    """Who is told of what the monitor finds: addresses come from here only."""

    webhooks: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")], SecretStr] = Field(
        {}, description='by name, where events are sent (CloudEvents): `{"retraining": "https://…"}`'
    )


class ServingSettings(_Section):
    """What a replica and its node need; handed to Ray's processes by their environment."""

    cache_dir: Path = Field(
        Path("/var/lib/hotswap/cache"), description="unpacked artifacts, shared by a node's replicas"
    )
    spool_dir: Path = Field(Path("/var/lib/hotswap/spool"), description="records that are not shipped yet; local disk")
    spool_max_bytes: int = Field(256 * 1024**2, description="per replica; beyond it records are dropped and counted")
    max_model_memory_bytes: int = Field(
        4 * 1024**3, description="validation fails a model whose process takes more at its peak"
    )
    trusted_types: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")], ...] = Field(
        (),
        description="types that a `.skops` file may hold although skops doesn't vouch for them, where who uploads is"
        ' trusted: `["sklearn.tree._tree.Tree"]`',
    )
    allow_custom_code: bool = Field(
        False, description="whether models of framework Custom are served, which run the code of whoever uploads them"
    )
    allow_requirements: bool = Field(
        False,
        description="whether a version may bring packages of its own (`requirements`): wheels from the index that pip"
        " is configured with, into its replicas by Ray's `runtime_env`",
    )


class RaySettings(_Section):
    dashboard_url: str = Field("http://127.0.0.1:8265", description="Ray's dashboard, which also has Serve's REST")
    auth_token: SecretStr = Field(description="Ray's own token (RAY_AUTH_MODE=token)")
    http_host: str = Field("127.0.0.1", description="where replicas and Serve's own proxy listen")
    http_port: int = Field(8000, description="Serve's own proxy, which no request of ours goes through")


class AgentSettings(_Section):
    """One traffic agent beside one Envoy."""

    proxy: str = Field("envoy-0", description="the proxy's name, one of its own for each Envoy")
    envoy_dir: Path = Field(
        Path("/var/lib/hotswap/envoy"), description="shared with Envoy: the files it is configured by"
    )
    envoy_admin_url: str = Field("http://127.0.0.1:9901", description="Envoy's admin port, for versions and counts")
    envoy_log: Path | None = Field(None, description="Envoy's log, to say why it refused a file")
    api_token_file: Path | None = Field(None, description="bearer token for the plan endpoint when Redis is away")


class GatewaySettings(_Section):
    """The public address and what stands behind it."""

    public_url: str = Field("http://127.0.0.1:5000", description="how callers reach Envoy, and workers too")
    listen_host: str = Field("127.0.0.1", description="where Envoy listens")
    listen_port: int = Field(5000, description="its public port")
    tls_certificate_file: Path | None = Field(
        None,
        description="certificate and its chain (PEM): with it Envoy answers HTTPS, and takes renewed files by itself",
    )
    tls_key_file: Path | None = Field(None, description="its private key (PEM); only Envoy reads it")
    tls_port: int = Field(5001, description="the public port for HTTPS")
    plaintext: bool = Field(
        True, description="whether the port without TLS is open; never closed without a certificate"
    )
    headers_timeout: timedelta = Field(
        timedelta(seconds=10), gt=timedelta(0), description="how long a request's headers may take to arrive"
    )
    request_timeout: timedelta = Field(
        timedelta(minutes=1), gt=timedelta(0), description="how long a request may take to arrive as a whole"
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        description="how many proxies of yours stand before Envoy: the address of a client is that far from the end of"
        " `X-Forwarded-For`",
    )
    api_host: str = Field("127.0.0.1", description="where the API listens, and Envoy finds it")
    api_port: int = Field(5080, description="its port")
    candidate_timeout: timedelta = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        le=timedelta(seconds=30),
        description="how long a candidate may take for a request before the stable is asked; longer is its error",
    )

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file are set together, or neither")
        if self.tls_certificate_file is None and not self.plaintext:
            raise ValueError("without a certificate the port without TLS is the only one: set tls_certificate_file")
        return self

    @property
    def has_tls(self) -> bool:
        return self.tls_certificate_file is not None


class SecuritySettings(_Section):
    issuer: str = Field("hotswap", description="`iss` of the tokens that are made and accepted")
    audience: str = Field("hotswap", description="their `aud`")
    signing_key_file: Path | None = Field(
        None,
        description="private JWK (ES256), or a JWK set of some, that sign HotSwap's own tokens; only the API needs it",
    )
    jwks_file: Path = Field(description="public keys that tokens are checked with, at Envoy and in the API")
    users_file: Path | None = Field(None, description="TOML of local users for login: argon2 hash and roles by name")
    token_lifetime: timedelta = Field(timedelta(hours=1), description="of tokens from login")
    service_token_lifetime: timedelta = Field(
        timedelta(minutes=10),
        gt=timedelta(0),
        le=timedelta(minutes=10),
        description="of tokens that a service token is exchanged for: how long a revoked one is still believed",
    )


def is_private_address(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    return host in {"localhost", "127.0.0.1", "::1"}


GrantText = Annotated[str, AfterValidator(lambda text: str(Grant.parse(text)))]


class OidcSettings(_Section):
    """Whose tokens are believed beside HotSwap's own, and what they mean."""

    issuer: str | None = Field(
        None, description="an OpenID Connect issuer, by its `iss`: `https://login.example.com/realms/ml`; none: off"
    )
    audience: str = Field("hotswap", description="the `aud` that its tokens must have")
    subject_claim: str = Field("sub", description="the claim that says who calls, such as `preferred_username`")
    roles_claim: tuple[str, ...] = Field(
        ("groups",),
        min_length=1,
        description='where its names of roles are: `["realm_access", "roles"]` is one in the other',
    )
    roles: dict[str, tuple[GrantText, ...]] = Field(
        {},
        description="what each of these names means here, everywhere or in a team: "
        '`{"ml-platform": ["Admin"], "payments-ds": ["Viewer", "payments:DataScientist"]}`; any other means nothing',
    )
    refresh: timedelta = Field(
        timedelta(minutes=5), ge=timedelta(seconds=1), description="how often its keys are asked for anew"
    )
    cache_file: Path = Field(
        Path("/var/lib/hotswap/oidc.json"), description="keeps its keys for a start while it is away"
    )

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, issuer: str | None) -> str | None:
        if issuer is None:
            return None
        address = urlsplit(issuer)
        if address.scheme != "https" and not (address.scheme == "http" and is_private_address(address.hostname or "")):
            raise ValueError("must be an address of https://, since its keys decide who is let in")
        return issuer

    @field_validator("roles")
    @classmethod
    def _are_peoples(cls, roles: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if any(Grant.parse(grant).role is Role.TRAFFIC_AGENT for grants in roles.values() for grant in grants):
            raise ValueError("TrafficAgent is the traffic agents' own role, and no issuer's to give")
        return roles


PerMinute = Annotated[int, Field(ge=0)]


class LimitSettings(_Section):
    """How often; 0 is no limit. Aborts, rollbacks and what else is said to a deployment are never limited."""

    registrations: PerMinute = Field(20, description="versions that one caller may register in any minute; 0: no limit")
    deployments: PerMinute = Field(10, description="deployments that one caller may start in any minute; 0: no limit")
    logins_of_user: PerMinute = Field(
        10, description="logins of one user that are tried from one address in any minute, right or wrong; 0: no limit"
    )
    logins_from_address: PerMinute = Field(
        60, description="logins that are tried from one address in any minute; 0: no limit"
    )
    exchanges_of_token: PerMinute = Field(
        300, description="exchanges of one service token for a bearer token in any minute; 0: no limit"
    )
    exchanges_from_address: PerMinute = Field(
        600, description="exchanges that are tried from one address in any minute, right or wrong; 0: no limit"
    )
    inference: int = Field(
        0, ge=0, description="requests a second that each proxy lets one caller make for inference; 0: no limit"
    )


class InferenceSettings(_Section):
    """Inference that is accepted now and answered later."""

    token_file: Path | None = Field(
        None,
        description="bearer token (role Application) by which workers ask for predictions on callers' behalf; without"
        " it asynchronous inference is refused",
    )
    deadline: timedelta = Field(
        timedelta(minutes=10), gt=timedelta(0), description="how long an asynchronous request may wait for its answer"
    )
    most_waiting: int = Field(1_000, ge=1, description="asynchronous requests without an answer; more are refused")
    most_waiting_of_caller: int = Field(200, ge=1, description="the same of one caller")
    at_once: int = Field(8, ge=1, le=256, description="how many of them a worker asks for at a time")


class RetentionSettings(_Section):
    """How long the recorder keeps what it writes; looked after each hour."""

    records: timedelta = Field(
        timedelta(days=90),
        ge=timedelta(days=1),
        description="how long a record of an inference is kept, in whole days, and its outcome",
    )
    async_results: timedelta = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long an asynchronous request's answer can be fetched"
    )
    seconds: timedelta = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long a model's figures are kept by the second"
    )
    minutes: timedelta = Field(
        timedelta(days=30), ge=timedelta(hours=1), description="how long they are kept by the minute"
    )
    hours: timedelta = Field(
        timedelta(days=400), ge=timedelta(hours=1), description="how long they are kept by the hour"
    )


class TelemetrySettings(_Section):
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where traces are sent, by OTLP over HTTP: `http://jaeger:4318`; none when absent",
    )
    sampling_rate: float = Field(
        1.0, ge=0, le=1, description="share of traces that are kept; a caller that is traced decides for itself"
    )
    worker_metrics: str | None = Field(
        None,
        pattern=r"^[^:/]+:\d+$",
        description="host:port where a worker shows Prometheus what Temporal's SDK counts; nowhere when absent",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _without_a_path(cls, given: str | None) -> str | None:
        """Jaeger's collector as the operations guide has it (Thrift, on 14268) takes OTLP on 4318."""
        return given and re.sub(r":14268/api/traces/?$", ":4318", given).rstrip("/").removesuffix("/v1/traces")


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
    """What brings the schema up to date is given: the database, as its owner."""

    postgres: PostgresSettings


class ReplicaSettings(_FromEnvironment):
    """What a replica is given: no database, no Redis, no keys but those of the artifacts."""

    storage: StorageSettings
    serving: ServingSettings = ServingSettings()


class ShipperSettings(_FromEnvironment):
    """What the process that ships a node's records is given."""

    redis: RedisSettings
    serving: ServingSettings = ServingSettings()


class TrafficAgentSettings(_FromEnvironment):
    """What a traffic agent is given; the signing key is none of its business."""

    redis: RedisSettings
    ray: RaySettings
    security: SecuritySettings
    oidc: OidcSettings = OidcSettings()
    agent: AgentSettings = AgentSettings()
    gateway: GatewaySettings = GatewaySettings()
    limits: LimitSettings = LimitSettings()


class Settings(TrafficAgentSettings):
    """What the control loop (API, worker, recorder) is given: everything."""

    postgres: PostgresSettings
    storage: StorageSettings
    deployments: DeploymentSettings = DeploymentSettings()
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
        raise SettingsError(f"setting {name}: {first['msg']}") from None


def _place(kind: type[BaseModel], at: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a whole section is missing, its first setting that has no default: sections themselves can't be set."""
    section = kind.model_fields[str(at[0])].annotation if len(at) == 1 and at[0] in kind.model_fields else None
    if not isinstance(section, type) or not issubclass(section, BaseModel):
        return at
    return (*at, *[name for name, field in section.model_fields.items() if field.is_required()][:1])
