"""TLS with certificates on both sides."""

from __future__ import annotations

import ssl
from pathlib import Path

from qnoded.errors import ConfigError
from qnoded.node.keys.secret_files import read_secret


def server_context(certificate: Path, private_key: Path, client_ca: Path) -> ssl.SSLContext:
    """Return TLS 1.2 or newer that lets nobody in without a certificate of the given root.

    Raises
    ------
    ConfigError
        If a file cannot be used, or others may read the private key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return _loaded(context, certificate, private_key, client_ca)


def client_context(certificate: Path, private_key: Path, server_ca: Path) -> ssl.SSLContext:
    """Return the application's side of it; errors as of ``server_context``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return _loaded(context, certificate, private_key, server_ca)


def _loaded(context: ssl.SSLContext, certificate: Path, private_key: Path, root: Path) -> ssl.SSLContext:
    read_secret(private_key).wipe()
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError as error:
        problem, remedy = f"no usable pair with {private_key} ({error})", "give a PEM certificate and its own key"
        raise ConfigError(certificate, "certificate", problem, remedy) from None
    try:
        context.load_verify_locations(root)
    except OSError as error:
        problem = str(error)
        raise ConfigError(root, "root certificate", problem, "give the PEM of the root that signs the others") from None
    return context
