"""Envoy's files: written beside their place and renamed, since Envoy only notices renames.

Each carries a version made of its content, which Envoy repeats as `version_text` once it has taken it: that is the
acknowledgement. A file that would not change is not written.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from hotswap.domain.traffic import TrafficPlan
from hotswap.settings import TrafficAgentSettings
from hotswap.storage.files import write_atomically
from serving.envoy.clusters import API, clusters
from serving.envoy.gateway import CDS, ECDS, LDS, RDS, bootstrap, public_listeners
from serving.envoy.routes import route_configuration
from serving.envoy.tls import SDS, secret
from serving.envoy.tokens import jwt_filter


def prepare(settings: TrafficAgentSettings) -> None:
    """Make all that Envoy needs to start: its bootstrap always, and the other files where there are none yet.

    A new proxy has no public listener: its agent opens them. Those that are open get the present settings.
    """
    directory = settings.agent.envoy_dir
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "envoy.json", json.dumps(bootstrap(settings), indent=1))
    empty = TrafficPlan()
    for name, resources in (
        (CDS, clusters({}, api=api_address(settings))),
        (RDS, [route_configuration(empty, settings.oidc)]),
        (ECDS, [current_jwt_filter(settings)]),
    ):
        if not (directory / name).exists():
            write_resources(directory / name, resources)
    if are_listeners_open(directory):
        open_listeners(settings)
    else:
        close_listeners(settings)
    if settings.gateway.has_tls:
        write_resources(directory / SDS, [secret(settings.gateway)])


def are_listeners_open(directory: Path) -> bool:
    """Return whether Envoy has been given its public listeners."""
    try:
        return bool(json.loads((directory / LDS).read_text())["resources"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def open_listeners(settings: TrafficAgentSettings) -> None:
    """Let Envoy take requests: it opens each listener as soon as it has the routes and the keys."""
    write_resources(settings.agent.envoy_dir / LDS, public_listeners(settings))


def close_listeners(settings: TrafficAgentSettings) -> None:
    """Let Envoy take no request."""
    write_resources(settings.agent.envoy_dir / LDS, [])


def has_applications(directory: Path) -> bool:
    """Return whether Envoy was given clusters of applications; a file that can't be read may have some."""
    try:
        given = json.loads((directory / CDS).read_text())["resources"]
        return any(each["name"] != API for each in given)
    except FileNotFoundError:
        return False
    except (ValueError, LookupError, TypeError):
        return True


def write_resources(path: Path, resources: list[dict[str, Any]]) -> str:
    """Write a discovery response if it differs from what is there; its version either way."""
    content = json.dumps(resources, sort_keys=True)
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    response = json.dumps({"version_info": version, "resources": resources})
    try:
        same = path.read_text() == response
    except FileNotFoundError:
        same = False
    if not same:
        write_atomically(path, response)
    return version


def current_jwt_filter(settings: TrafficAgentSettings, issuer_jwks: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the filter with our own keys as their file has them now. Raises OSError and ValueError."""
    jwks = json.loads(settings.security.jwks_file.read_text())
    return jwt_filter(jwks, settings.security, settings.oidc, issuer_jwks)


def api_address(settings: TrafficAgentSettings) -> str:
    return f"{settings.gateway.api_host}:{settings.gateway.api_port}"
