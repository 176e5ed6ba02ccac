"""What is said of certificates before Envoy is given any."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hotswap.settings import GatewaySettings, SettingsError, TrafficAgentSettings
from serving.envoy.gateway import public_listeners
from serving.envoy.tls import check_certificate, secret
from tests.fixtures.certificates import Authority

PAIR = {"tls_certificate_file": Path("/etc/hotswap/tls.crt"), "tls_key_file": Path("/etc/hotswap/tls.key")}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"tls_certificate_file": "/etc/hotswap/tls.crt"}, "set together"),
        ({"tls_key_file": "/etc/hotswap/tls.key"}, "set together"),
        ({"plaintext": False}, "the only one"),
    ],
)
def test_half_a_configuration_is_refused(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        GatewaySettings.model_validate(said)


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    authority, certificate, key, other = Authority(tmp_path), *(tmp_path / name for name in ("a", "b", "c"))
    authority.issue(certificate, key)
    check_certificate(GatewaySettings(tls_certificate_file=certificate, tls_key_file=key))
    check_certificate(GatewaySettings())
    authority.issue(tmp_path / "another", other)
    for wrong in (other, tmp_path / "absent", certificate):
        with pytest.raises(SettingsError, match=f"TLS_CERTIFICATE_FILE.*{certificate} and {wrong} can't be used"):
            check_certificate(GatewaySettings(tls_certificate_file=certificate, tls_key_file=wrong))


@pytest.mark.parametrize(
    ("gateway", "ports"),
    [
        ({}, {5000}),
        (PAIR, {5000, 5001}),
        (PAIR | {"plaintext": False}, {5001}),
        (PAIR | {"tls_port": 443}, {5000, 443}),
    ],
)
def test_each_public_port_has_a_listener(tmp_path: Path, gateway: dict[str, Any], ports: set[int]) -> None:
    settings = TrafficAgentSettings.model_validate(
        {
            "redis": {"url": "redis://127.0.0.1:1"},
            "ray": {"auth_token": "unused"},
            "security": {"jwks_file": str(tmp_path / "jwks.json")},
            "gateway": gateway,
        }
    )
    listeners = public_listeners(settings)
    sockets = [each["address"]["socket_address"]["port_value"] for each in listeners if "address" in each]
    assert set(sockets) == ports
    encrypted = [each["name"] for each in listeners if "transport_socket" in each["filter_chains"][0]]
    assert encrypted == (["gateway-tls"] if gateway else [])


def test_the_key_is_named_and_never_copied() -> None:
    written = secret(GatewaySettings(**PAIR))
    assert written["tls_certificate"] == {
        "certificate_chain": {"filename": "/etc/hotswap/tls.crt"},
        "private_key": {"filename": "/etc/hotswap/tls.key"},
    }
