"""Where things are kept: PostgreSQL, Redis, artifacts in S3, and for how long records are."""

from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from hotswap.schemas.fields import Duration
from hotswap.settings.section import Section


class StorageType(StrEnum):
    MINIO = "MinIO"
    S3 = "S3"


class PostgresSettings(Section):
    url: SecretStr = Field(description="SQLAlchemy URL, such as postgresql+psycopg://user:password@host:5432/database")
    pool_size: int = Field(5, ge=1, description="connections that one process keeps")


class RedisSettings(Section):
    url: SecretStr = Field(description="HotSwap's own Redis; never the one that holds Ray's state")


class Encryption(StrEnum):
    """Who encrypts what is written: the bucket as it is set up, or S3 by its own or a named key."""

    BUCKET = "bucket"
    SSE_S3 = "SSE-S3"
    SSE_KMS = "SSE-KMS"


class StorageSettings(Section):
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
    garbage_grace: Duration = Field(
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


class RetentionSettings(Section):
    """How long the recorder keeps what it writes; looked after each hour."""

    records: Duration = Field(
        timedelta(days=90),
        ge=timedelta(days=1),
        description="how long a record of an inference is kept, in whole days, and its outcome",
    )
    async_results: Duration = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long an asynchronous request's answer can be fetched"
    )
    seconds: Duration = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long a model's figures are kept by the second"
    )
    minutes: Duration = Field(
        timedelta(days=30), ge=timedelta(hours=1), description="how long they are kept by the minute"
    )
    hours: Duration = Field(
        timedelta(days=400), ge=timedelta(hours=1), description="how long they are kept by the hour"
    )
    looks: Duration = Field(
        timedelta(days=30),
        ge=timedelta(days=1),
        description="how long every look of an analysis that is over is kept; then one a minute",
    )
