"""Replicas, Ray, agents, the public address, and inference that is answered later."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from hotswap.schemas.fields import Duration
from hotswap.settings.section import Section


class ServingSettings(Section):
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


class RaySettings(Section):
    dashboard_url: str = Field("http://127.0.0.1:8265", description="Ray's dashboard, which also has Serve's REST")
    auth_token: SecretStr = Field(description="Ray's own token (RAY_AUTH_MODE=token)")
    http_host: str = Field("127.0.0.1", description="where replicas and Serve's own proxy listen")
    http_port: int = Field(8000, description="Serve's own proxy, which no request of ours goes through")


class AgentSettings(Section):
    """One traffic agent beside one Envoy."""

    proxy: str = Field("envoy-0", description="the proxy's name, one of its own for each Envoy")
    envoy_dir: Path = Field(
        Path("/var/lib/hotswap/envoy"), description="shared with Envoy: the files it is configured by"
    )
    envoy_admin_url: str = Field("http://127.0.0.1:9901", description="Envoy's admin port, for versions and counts")
    envoy_log: Path | None = Field(None, description="Envoy's log, to say why it refused a file")
    api_token_file: Path | None = Field(None, description="bearer token for the plan endpoint when Redis is away")


class GatewaySettings(Section):
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
    headers_timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="how long a request's headers may take to arrive"
    )
    request_timeout: Duration = Field(
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
    candidate_timeout: Duration = Field(
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


class InferenceSettings(Section):
    """Inference that is accepted now and answered later."""

    token_file: Path | None = Field(
        None,
        description="bearer token (role Application) by which workers ask for predictions on callers' behalf; without"
        " it asynchronous inference is refused",
    )
    deadline: Duration = Field(
        timedelta(minutes=10), gt=timedelta(0), description="how long an asynchronous request may wait for its answer"
    )
    most_waiting: int = Field(1_000, ge=1, description="asynchronous requests without an answer; more are refused")
    most_waiting_of_caller: int = Field(200, ge=1, description="the same of one caller")
    at_once: int = Field(8, ge=1, le=256, description="how many of them a worker asks for at a time")
