"""Settings of the stores: PostgreSQL, Redis, artifacts in S3, and for how long records are kept."""

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
    pool_size: int = Field(5, ge=1, description="how many connections one process keeps open")
    way_back_pool_size: int = Field(
        3,
        ge=1,
        description="how many further connections a worker and the API each keep open for aborts and rollbacks alone",
    )


class RedisSettings(Section):
    url: SecretStr = Field(description="HotSwap's own Redis, never the one with Ray's state")
    records_max_bytes: int = Field(
        500 * 10**6,
        ge=10 * 10**6,
        description="memory that the stream of records may take in Redis; when it is full, records wait in the spools",
    )


class Encryption(StrEnum):
    """The encryption of written objects: as the bucket is set up, or by S3 with its own or a named key."""

    BUCKET = "bucket"
    SSE_S3 = "SSE-S3"
    SSE_KMS = "SSE-KMS"


class StorageSettings(Section):
    type: StorageType = Field(
        StorageType.MINIO, description="MinIO or S3; both have one protocol, so nothing reads it yet"
    )
    endpoint: str = Field("127.0.0.1:9000", description="host:port of S3, without a scheme")
    access_key: SecretStr = Field(description="access key for the bucket")
    secret_key: SecretStr = Field(description="secret of the access key")
    bucket: str = Field("ml-models", description="bucket of the artifacts; the API is ready only if it exists")
    use_tls: bool = Field(False, description="whether to use TLS with the endpoint")
    region: str = Field("us-east-1", description="the bucket's region; any value if the server has no regions")
    max_artifact_bytes: int = Field(
        2 * 1024**3, ge=1, description="largest size of an artifact; a larger one is refused"
    )
    public_endpoint: str | None = Field(
        None, description="host:port at which uploads reach S3, with TLS as `use_tls` says; absent: the endpoint"
    )
    encryption: Encryption = Field(
        Encryption.BUCKET,
        description="encryption of HotSwap's objects: `SSE-S3`, `SSE-KMS`, or `bucket` for the bucket's own setting",
    )
    kms_key_id: str | None = Field(None, description="id of the key for `SSE-KMS`")
    garbage_grace: Duration = Field(
        timedelta(days=1),
        ge=timedelta(hours=1),
        description="how long an object that no version uses is kept; uploads and registrations take time",
    )

    @model_validator(mode="after")
    def _has_the_key_it_needs(self) -> Self:
        if (self.encryption is Encryption.SSE_KMS) != (self.kms_key_id is not None):
            raise ValueError("SSE-KMS and kms_key_id need each other")
        if self.encryption is Encryption.SSE_KMS and not self.use_tls:
            raise ValueError("S3 takes SSE-KMS over TLS only; set use_tls")
        return self


class RetentionSettings(Section):
    """The time for which the recorder keeps what it writes; checked each hour."""

    records: Duration = Field(
        timedelta(days=90),
        ge=timedelta(days=1),
        description="how long the record of an inference and its outcome are kept, in whole days",
    )
    async_results: Duration = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long the answer of an asynchronous request is kept"
    )
    seconds: Duration = Field(
        timedelta(days=1), ge=timedelta(hours=1), description="how long a model's figures for each second are kept"
    )
    minutes: Duration = Field(
        timedelta(days=30), ge=timedelta(hours=1), description="how long a model's figures for each minute are kept"
    )
    hours: Duration = Field(
        timedelta(days=400), ge=timedelta(hours=1), description="how long a model's figures for each hour are kept"
    )
    looks: Duration = Field(
        timedelta(days=30),
        ge=timedelta(days=1),
        description="how long every observation of an ended analysis is kept; after that, one for each minute",
    )
    thinned_looks: Duration = Field(
        timedelta(days=400),
        ge=timedelta(days=1),
        description="how long one for each minute is kept; after that, the last one, which the verdict was made on",
    )
