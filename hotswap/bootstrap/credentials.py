"""The stack's secrets: made once, kept in files that only their owner can read, and never on a command line.

A second start finds the same passwords, so the data that they protect stays reachable; the signing keys stay too, so
tokens outlive a restart. Four tokens are renewed when less than a day of them is left or another key signs by now: the
development token, which is the person at the keyboard, the traffic agent's, one that may only read, for Prometheus, and
the one by which workers ask for predictions.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from hotswap.bootstrap.layout import Layout
from hotswap.domain.errors import Unauthorized
from hotswap.domain.vocabulary import Role
from hotswap.security import jwt, signing
from hotswap.storage.files import write_atomically

ISSUER = AUDIENCE = "hotswap"
TOKEN_LIFETIME = timedelta(days=30)
RENEW_BEFORE = timedelta(days=1)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Everything secret, and the files that hand it to processes by path."""

    postgres_admin_password: str
    postgres_password: str
    valkey_password: str
    s3_access_key: str
    s3_secret_key: str
    ray_token: str
    ray_token_file: Path
    signing_key_file: Path
    jwks_file: Path
    token_file: Path
    agent_token_file: Path
    metrics_token_file: Path
    inference_token_file: Path

    @property
    def token(self) -> str:
        return self.token_file.read_text()


def load(layout: Layout) -> Credentials:
    """Read the secrets; what is missing is made first."""
    with _alone(layout):
        directory = layout.secrets
        signing_key_file, jwks_file = directory / "signing_key.json", directory / "jwks.json"
        _once(signing_key_file, lambda: signing.write_keys([signing.generate_signing_key()]))
        _write(jwks_file, json.dumps(signing.public_jwks(*signing.read_keys(signing_key_file.read_text()))))
        ray_token_file = directory / "ray_token"
        credentials = Credentials(
            postgres_admin_password=_once(directory / "postgres_admin_password", _password),
            postgres_password=_once(directory / "postgres_password", _password),
            valkey_password=_once(directory / "valkey_password", _password),
            s3_access_key=_once(directory / "s3_access_key", lambda: secrets.token_hex(10)),
            s3_secret_key=_once(directory / "s3_secret_key", _password),
            ray_token=_once(ray_token_file, lambda: secrets.token_hex(32)),
            ray_token_file=ray_token_file,
            signing_key_file=signing_key_file,
            jwks_file=jwks_file,
            token_file=directory / "token",
            agent_token_file=directory / "agent_token",
            metrics_token_file=directory / "metrics_token",
            inference_token_file=directory / "inference_token",
        )
        renew_tokens(layout, credentials)
        return credentials


def renew_tokens(layout: Layout, credentials: Credentials) -> None:
    """Mint the tokens that are missing, nearly over, or signed by another key."""
    with _alone(layout):
        key = signing.signing_key(signing_keys(credentials), now=datetime.now(UTC))
        for file, subject, role in (
            (credentials.token_file, "developer", Role.ADMIN),
            (credentials.agent_token_file, "traffic-agent", Role.TRAFFIC_AGENT),
            (credentials.metrics_token_file, "prometheus", Role.VIEWER),
            (credentials.inference_token_file, "async-inference", Role.APPLICATION),
        ):
            if not _lasts(file, key):
                token = jwt.issue_token(
                    key=key,
                    issuer=ISSUER,
                    audience=AUDIENCE,
                    subject=subject,
                    roles=[role],
                    lifetime=TOKEN_LIFETIME,
                    now=datetime.now(UTC),
                )
                _write(file, token)


def signing_keys(credentials: Credentials) -> list[signing.Jwk]:
    return signing.read_keys(credentials.signing_key_file.read_text())


def rotate_signing_keys(layout: Layout, credentials: Credentials, *, signs_at: datetime) -> signing.Jwk:
    """Add a key that signs from then on; it is published first, since a proxy must know it before a token has it."""
    with _alone(layout):
        keys = signing.rotated(signing_keys(credentials), signs_at=signs_at)
        _write(credentials.jwks_file, json.dumps(signing.public_jwks(*keys)))
        _write(credentials.signing_key_file, signing.write_keys(keys))
        renew_tokens(layout, credentials)
        return keys[-1]


def replace_signing_keys(layout: Layout, credentials: Credentials, text: str) -> None:
    """Sign with these keys from now on, such as a backup's, and renew the stack's own tokens. Raises ValueError."""
    with _alone(layout):
        keys = signing.read_keys(text)
        _write(credentials.jwks_file, json.dumps(signing.public_jwks(*keys)))
        _write(credentials.signing_key_file, signing.write_keys(keys))
        renew_tokens(layout, credentials)


def retire_signing_key(layout: Layout, credentials: Credentials, kid: str) -> None:
    """Publish a key no more; the stack's own tokens are another's by then. Raises NotFound and Conflict."""
    with _alone(layout):
        keys = signing.retired(signing_keys(credentials), kid, now=datetime.now(UTC))
        renew_tokens(layout, credentials)
        _write(credentials.signing_key_file, signing.write_keys(keys))
        _write(credentials.jwks_file, json.dumps(signing.public_jwks(*keys)))


def _lasts(file: Path, key: Mapping[str, Any]) -> bool:
    later = datetime.now(UTC) + RENEW_BEFORE
    try:
        jwt.verify_token(file.read_text(), jwks=signing.public_jwks(key), issuer=ISSUER, audience=AUDIENCE, now=later)
    except (OSError, Unauthorized):
        return False
    return True


def _password() -> str:
    return secrets.token_hex(24)


def _once(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        _write(file, make())
    return file.read_text()


def _write(file: Path, content: str) -> None:
    """Replace a file that is never readable by others, not even for a moment."""
    write_atomically(file, content, mode=0o600)


def _alone(layout: Layout) -> FileLock:
    """Hold the lock: every command reads and writes here, and some run at the same time.

    Its holder may take it again.
    """
    return FileLock(layout.data / "secrets.lock", is_singleton=True)
