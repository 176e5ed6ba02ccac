"""TLS at the public address: a second listener, with a certificate that is read anew when it is renewed.

The key never leaves its file: Envoy is given a secret that names the two files, and watches the directory that
each is in. It takes a pair when one of them is renamed there, as a Kubernetes secret, cert-manager and `mv` do it, and
keeps the pair it has while the two don't fit; connections that are open go on with the old one.
"""

import ssl
from pathlib import Path

from hotswap.settings import GatewaySettings, SettingsError
from serving.envoy.config import Json

SDS = "sds.json"
CERTIFICATE = "public"

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def check_certificate(settings: GatewaySettings) -> None:
    """Check that certificate and key can be read and belong together; without them nothing is checked.

    Raises SettingsError if they don't.
    """
    if settings.tls_certificate_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_certificate_file, settings.tls_key_file, password=""
        )
    except OSError as error:  # an SSLError is one
        raise SettingsError(
            f"setting HOTSWAP_GATEWAY__TLS_CERTIFICATE_FILE and ...TLS_KEY_FILE: {settings.tls_certificate_file} and "
            f"{settings.tls_key_file} can't be used together: {error}"
        ) from None


def secret(settings: GatewaySettings) -> Json:
    """Return the resource of `sds.json`."""
    return {
        "@type": f"{_TLS}.Secret",
        "name": CERTIFICATE,
        "tls_certificate": {
            "certificate_chain": {"filename": str(settings.tls_certificate_file)},
            "private_key": {"filename": str(settings.tls_key_file)},
        },
    }


def transport_socket(directory: Path) -> Json:
    """Return TLS: HTTP/2 if the client can, and nothing older than TLS 1.2; `directory` has Envoy's files."""
    sds = {"path_config_source": {"path": str(directory / SDS)}, "resource_api_version": "V3"}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE, "sds_config": sds}],
            },
        },
    }
