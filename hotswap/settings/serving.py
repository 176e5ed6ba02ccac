"""Replicas, Ray, proxies and their agents, the public address, and inference that is answered later."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from hotswap.domain.proxies import LOST_AFTER, PROXY_NAME
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.fields import Duration
from hotswap.settings.section import Section


class ServingSettings(Section):
    """Settings of a replica and its node; handed to Ray's processes by their environment."""

    cache_dir: Path = Field(
        Path("/var/lib/hotswap/cache"), description="directory of unpacked artifacts, which a node's replicas share"
    )
    cache_max_bytes: int = Field(
        20 * 1024**3,
        ge=1024**3,
        description="size of that directory; of more, the least recently used artifacts are removed, but none that a "
        "replica of the node serves",
    )
    spool_dir: Path = Field(
        Path("/var/lib/hotswap/spool"), description="directory of records that are not shipped yet, on a local disk"
    )
    spool_max_bytes: int = Field(
        256 * 1024**2, description="size of a replica's spool; a full spool drops records and counts them"
    )
    record_max_bytes: int = Field(
        256 * 1024,
        ge=1024,
        description="most bytes of a record's features and predictions; a larger record is kept without its features, "
        "and one whose predictions alone are larger without these too",
    )
    max_model_memory_bytes: int = Field(
        4 * 1024**3, description="memory that a model's process may use; validation fails if its peak is higher"
    )
    inspections_at_once: int = Field(
        2,
        ge=1,
        le=64,
        description="how many processes that unpack and load registered artifacts a worker has at a time, each with as "
        "much memory; others wait",
    )
    trusted_types: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")], ...] = Field(
        (),
        description="types that a `.skops` file may have although skops doesn't trust them, if you trust uploaders: "
        '`["sklearn.tree._tree.Tree"]`',
    )
    allow_custom_code: bool = Field(
        False, description="whether models of framework Custom are served; they run the code of those who upload them"
    )
    allow_requirements: bool = Field(
        False,
        description="whether a version may have packages of its own (`requirements`): Ray's `runtime_env` installs "
        "them in its replicas, as wheels from the index of pip's configuration",
    )


class RaySettings(Section):
    dashboard_url: str = Field("http://127.0.0.1:8265", description="Ray's dashboard, which also has Serve's REST API")
    auth_token: SecretStr = Field(description="Ray's own token (RAY_AUTH_MODE=token)")
    http_host: str = Field("127.0.0.1", description="address on which replicas and Serve's own proxy listen")
    http_port: int = Field(8000, description="port of Serve's own proxy, which HotSwap doesn't use")


class ProxySettings(Section):
    """All proxies together, as the worker and the API count them."""

    lost_after: Duration = Field(
        LOST_AFTER,
        ge=timedelta(seconds=30),
        description="how long a proxy that doesn't report any more still counts: steps and rollbacks wait for it",
    )


class AgentSettings(Section):
    """One traffic agent beside one Envoy."""

    proxy: str = Field(
        "envoy-0",
        min_length=1,
        max_length=253,
        pattern=PROXY_NAME,
        description="the proxy's name, a different one for each Envoy, such as its pod's; a second agent with a name "
        "is refused",
    )
    environments: tuple[Environment, ...] = Field(
        tuple(Environment),
        min_length=1,
        description="environments whose requests this proxy takes; it holds up only their deployments",
    )
    envoy_dir: Path = Field(
        Path("/var/lib/hotswap/envoy"),
        description="directory with Envoy's configuration, which Envoy and the agent share",
    )
    envoy_admin_url: str = Field("http://127.0.0.1:9901", description="Envoy's admin port, for versions and counts")
    envoy_log: Path | None = Field(None, description="Envoy's log, in which the agent finds why Envoy refused a file")
    api_token_file: Path | None = Field(
        None, description="file with the bearer token for the API, which has the plan while Redis is down"
    )


class GatewaySettings(Section):
    """The public address and what stands behind it."""

    public_url: str = Field("http://127.0.0.1:5000", description="address at which callers and workers reach Envoy")
    listen_host: str = Field("127.0.0.1", description="address on which Envoy listens")
    listen_port: int = Field(5000, description="Envoy's public port")
    tls_certificate_file: Path | None = Field(
        None,
        description="certificate with its chain (PEM); with it Envoy answers HTTPS, and it notices renewed files",
    )
    tls_key_file: Path | None = Field(None, description="private key of the certificate (PEM); only Envoy reads it")
    tls_port: int = Field(5001, description="the public port for HTTPS")
    plaintext: bool = Field(True, description="whether the port without TLS is open; without a certificate it must be")
    headers_timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="how long a request's headers may take to arrive"
    )
    request_timeout: Duration = Field(
        timedelta(minutes=1), gt=timedelta(0), description="how long a request may take to arrive as a whole"
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        description="how many proxies of yours are before Envoy; the client's address is at this place from the end of "
        "`X-Forwarded-For`",
    )
    api_host: str = Field("127.0.0.1", description="address on which the API listens, and where Envoy finds it")
    api_port: int = Field(5080, description="the API's port")
    candidate_timeout: Duration = Field(
        timedelta(seconds=5),
        gt=timedelta(0),
        le=timedelta(seconds=30),
        description="how long a candidate may take for a request; after that it is an error, and the stable answers",
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
        description="file with the bearer token (role Application) with which workers ask for predictions for callers; "
        "without it asynchronous inference is refused",
    )
    deadline: Duration = Field(
        timedelta(minutes=10), gt=timedelta(0), description="how long an asynchronous request may wait for its answer"
    )
    most_waiting: int = Field(
        1_000, ge=1, description="how many asynchronous requests may wait for an answer; more are refused"
    )
    most_waiting_of_caller: int = Field(200, ge=1, description="how many of them one caller may have")
    at_once: int = Field(8, ge=1, le=256, description="how many of them a worker sends at a time")
