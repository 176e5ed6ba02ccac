"""Environment of each process of the stack, which is all that it is told.

The embedded stack is only another source of the settings that `hotswap.settings` reads. Addresses, secrets and paths
are the stack's own and can't be overridden; every other `HOTSWAP_<SECTION>__…` of the caller's environment or `.env`
wins over our defaults. Invariant: a process is given the sections that it needs and no more, so that a replica, which
runs other people's models, never sees the database's password or a key that signs tokens.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from hotswap.bootstrap.credentials import AUDIENCE, ISSUER, Credentials
from hotswap.bootstrap.layout import Layout
from hotswap.settings import ReplicaSettings, Settings, ShipperSettings, TrafficAgentSettings
from hotswap.stack.part_logs import MAX_LOG_BYTES
from hotswap.stack.ports import HOST, StackPorts, last_of
from hotswap.storage.files import write_atomically

SETTINGS: Mapping[str, type[BaseSettings]] = {
    "ray": ReplicaSettings,
    "shipper": ShipperSettings,
    "agent": TrafficAgentSettings,
    "control": Settings,
}
SECTIONS: Mapping[str, frozenset[str]] = {
    kind: frozenset(section.upper() for section in read.model_fields) for kind, read in SETTINGS.items()
}
"""The sections of the settings that each kind of process reads, and so may read."""

DEFAULTS = {
    "HOTSWAP_DEPLOYMENTS__APPROVAL_REQUIRED": "[]",
    # Its one token is one person's, who would have nobody to ask.
    "HOTSWAP_DEPLOYMENTS__FOUR_EYES": "[]",
}

TLS_CERTIFICATE, TLS_KEY = "HOTSWAP_GATEWAY__TLS_CERTIFICATE_FILE", "HOTSWAP_GATEWAY__TLS_KEY_FILE"

INHERITED = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "CUDA_HOME",
        "CUDA_VISIBLE_DEVICES",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
    ]
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
POSTGRES_USER, POSTGRES_DATABASE = "ml_user", "ml_deployment"
BUCKET, REGION = "ml-models", "us-east-1"


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments of one stack's processes."""

    layout: Layout
    ports: StackPorts
    credentials: Credentials
    caller: Mapping[str, str]

    def server(self) -> dict[str, str]:
        """Return the environment of a third-party server: what any process needs, and no setting of ours."""
        inherited = {name: value for name, value in self.caller.items() if name in INHERITED}
        return {**inherited, "PATH": f"{binaries()}:{inherited.get('PATH', os.defpath)}"}

    def ours(self, kind: str) -> dict[str, str]:
        """Return the environment of a Python process of ours that isn't part of the control loop."""
        return {**self.server(), **self._settings(kind), "PYTHONUNBUFFERED": "1"}

    def control(self, *, signs: bool = False) -> dict[str, str]:
        """Return the environment of the API (which signs tokens), the worker and the recorder.

        They may call out, through a proxy if there is one.
        """
        proxies = {name: self.caller[name] for name in PROXIES if name in self.caller}
        if proxies:
            beside = self.caller.get("NO_PROXY") or self.caller.get("no_proxy")
            proxies["NO_PROXY"] = proxies["no_proxy"] = ",".join(filter(None, [HOST, "localhost", beside]))
        return {**self.ours("control"), **proxies, **self.control_settings(signs=signs)}

    def control_settings(self, *, signs: bool) -> dict[str, str]:
        settings = {**self._settings("control"), **self.temporal()}
        if signs:
            settings["HOTSWAP_SECURITY__SIGNING_KEY_FILE"] = str(self.credentials.signing_key_file)
        if config := self.caller.get("HOTSWAP_CONFIG"):
            settings["HOTSWAP_CONFIG"] = str(Path(config).absolute())
        return settings

    def section(self, name: str) -> dict[str, str]:
        """Return one section of the control loop's settings, such as `STORAGE`, by the names of its fields."""
        prefix = f"HOTSWAP_{name}__"
        settings = self._settings("control").items()
        return {key.removeprefix(prefix).lower(): value for key, value in settings if key.startswith(prefix)}

    def temporal(self) -> dict[str, str]:
        """Return Temporal's own variables; the empty file keeps a person's profiles for other servers out."""
        return {
            "TEMPORAL_ADDRESS": f"{HOST}:{self.ports.temporal}",
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_CONFIG_FILE": os.devnull,
        }

    def ray(self) -> dict[str, str]:
        """Return the environment of Ray's head and so of every replica. It listens on this machine only."""
        ports = self.ports
        return {
            **self.ours("ray"),
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",  # by its default, 0.1, an idle Serve takes a tenth of a core
            "REPORTER_UPDATE_INTERVAL_MS": "15000",  # the node's figures, as often as Prometheus takes them
            "RAY_SERVE_SLOW_STARTUP_WARNING_S": "5",  # until then Serve doesn't say what its replicas wait for
            "RAY_SERVE_SLOW_STARTUP_WARNING_PERIOD_S": "5",
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.serve_http),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(last_of(ports, "serve_http")),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.serve_grpc),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(last_of(ports, "serve_grpc")),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_ROTATION_MAX_BYTES": str(MAX_LOG_BYTES),  # of each log; by its default 512 MB
            "RAY_ROTATION_BACKUP_COUNT": "1",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: the node's address is 127.0.0.1
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.credentials.ray_token_file),
            "RAY_gcs_storage": "rocksdb",
            "RAY_gcs_storage_path": str(self.layout.ray_state / "gcs"),
            "DASHBOARD_METRIC_PORT": str(ports.ray_dashboard_metrics),
        }

    def _settings(self, kind: str) -> dict[str, str]:
        settings = {**DEFAULTS, **_theirs(self.caller), **self._own()}
        return {name: value for name, value in settings.items() if _section(name) in SECTIONS[kind]}

    def _own(self) -> dict[str, str]:
        """Return what the stack decides: nobody's setting can point one of its processes elsewhere."""
        layout, ports, secret = self.layout, self.ports, self.credentials
        sections: dict[str, dict[str, object]] = {
            "POSTGRES": {"URL": self.postgres_url()},
            "REDIS": {"URL": f"redis://:{secret.valkey_password}@{HOST}:{ports.valkey}/0"},
            "STORAGE": {
                "TYPE": "MinIO",
                "ENDPOINT": f"{HOST}:{ports.s3}",
                "ACCESS_KEY": secret.s3_access_key,
                "SECRET_KEY": secret.s3_secret_key,
                "BUCKET": BUCKET,
                "USE_TLS": "false",
                "REGION": REGION,
            },
            "SERVING": {"CACHE_DIR": layout.cache, "SPOOL_DIR": layout.spool},
            "RAY": {
                "DASHBOARD_URL": f"http://{HOST}:{ports.ray_dashboard}",
                "AUTH_TOKEN": secret.ray_token,
                "HTTP_HOST": HOST,
                "HTTP_PORT": ports.serve_proxy,
            },
            "AGENT": {
                "ENVOY_DIR": layout.envoy,
                "ENVOY_ADMIN_URL": f"http://{HOST}:{ports.envoy_admin}",
                "ENVOY_LOG": layout.log("envoy"),
                "API_TOKEN_FILE": secret.agent_token_file,
            },
            "GATEWAY": {
                "PUBLIC_URL": f"http://{HOST}:{ports.public}",
                "LISTEN_HOST": HOST,
                "LISTEN_PORT": ports.public,
                "TLS_PORT": ports.public_tls,
                "PLAINTEXT": "true",  # on this machine only, and how its own commands speak to it
                "API_HOST": HOST,
                "API_PORT": ports.api,
            },
            "INFERENCE": {"TOKEN_FILE": secret.inference_token_file},
            "OIDC": {"CACHE_FILE": layout.data / "oidc.json"},
            "SECURITY": {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS_FILE": secret.jwks_file},
        }
        return {
            f"HOTSWAP_{section}__{name}": str(value)
            for section, names in sections.items()
            for name, value in names.items()
        }

    def postgres_url(self, *, admin: bool = False) -> str:
        secret = self.credentials
        user = f"postgres:{secret.postgres_admin_password}" if admin else f"{POSTGRES_USER}:{secret.postgres_password}"
        database = "postgres" if admin else POSTGRES_DATABASE
        return f"postgresql{'' if admin else '+psycopg'}://{user}@{HOST}:{self.ports.postgres}/{database}"


def caller_environment() -> dict[str, str]:
    """Return the caller's variables over those of the `.env` in the current directory."""
    from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**{name: value for name, value in from_file.items() if name.startswith("HOTSWAP_")}, **os.environ}


def binaries() -> Path:
    """Return where the environment's commands are (`temporal`, `rclone`)."""
    return Path(sys.executable).parent


def shell_exports(environments: Environments) -> str:
    """Return `export` lines for the runbooks' commands, for `eval`: with the development token and S3's keys."""
    ports, secret = environments.ports, environments.credentials
    s3 = f"{HOST}:{ports.s3}"
    public = f"http://{HOST}:{ports.public}"
    exports = {
        "TOKEN": secret.token,
        "HOTSWAP_TOKEN": secret.token,
        "HOTSWAP_URL": public,
        "CURL_HOME": str(environments.layout.shell),
        "MINIO_USER": secret.s3_access_key,
        "MINIO_PASSWORD": secret.s3_secret_key,
        "S3_ENDPOINT": f"http://{s3}",
        "MC_HOST_local": f"http://{secret.s3_access_key}:{secret.s3_secret_key}@{s3}",
        "TEMPORAL_ADDRESS": f"{HOST}:{ports.temporal}",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    # Appended, and only once: `eval` may be run in every new shell.
    directory = shlex.quote(str(binaries()))
    lines.append(f'case ":$PATH:" in *:{directory}:*) ;; *) export PATH="$PATH":{directory} ;; esac')
    return "\n".join(lines)


def write_curl_configuration(layout: Layout, credentials: Credentials, *, public_port: int) -> None:
    """Write the configuration to which `CURL_HOME` leads curl: a default token, and the stack's address.

    Documents and runbooks say `localhost:5000`; their commands also work with a stack whose ports were moved.
    """
    lines = [f'oauth2-bearer = "{credentials.token}"']
    if public_port != StackPorts().public:
        lines.append(f'connect-to = "localhost:{StackPorts().public}:{HOST}:{public_port}"')
    write_atomically(layout.shell / ".curlrc", "".join(f"{line}\n" for line in lines), mode=0o600)


def _theirs(caller: Mapping[str, str]) -> dict[str, str]:
    known = frozenset().union(*SECTIONS.values())
    given = {name.upper(): value for name, value in caller.items() if _section(name.upper()) in known}
    # Its processes work elsewhere than the caller.
    return given | {name: str(Path(given[name]).absolute()) for name in (TLS_CERTIFICATE, TLS_KEY) if name in given}


def _section(name: str) -> str | None:
    """Return the section: `HOTSWAP_POSTGRES__URL` and `HOTSWAP_POSTGRES` (JSON) belong to `POSTGRES`."""
    prefix, _, rest = name.partition("_")
    return rest.partition("__")[0] if prefix == "HOTSWAP" else None
