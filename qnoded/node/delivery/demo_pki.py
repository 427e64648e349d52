"""Certificates for demonstrations and tests: a root, one for each node (KME) and one for each application (SAE).

The root's key lies beside the certificates, so whoever reads the folder can be anybody: never for keys that matter.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qnoded.errors import ConfigError
from qnoded.node.delivery.directory import SAE_URI
from qnoded.node.keys.secret_files import write_secret
from qnoded.secret import Secret

VALID: Final = datetime.timedelta(days=365)
ROOT: Final = "ca"
"""Name of the root's files."""
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


def make(folder: Path, kmes: Iterable[str], saes: Iterable[str], hosts: Iterable[str] = LOCAL_HOSTS) -> list[Path]:
    """Write ``NAME.crt`` and ``NAME.key`` for a root, nodes and applications; return the files.

    Parameters
    ----------
    folder
        Made if it is not there; files that are there are never written over.
    kmes, saes
        Names, which the certificates carry as common names; applications' also as ``sae:`` URI.
    hosts
        Names and addresses under which the nodes are reached.

    Raises
    ------
    ConfigError
        If a file is there already or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(folder, "folder", error.strerror or str(error), "choose another one") from None
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = _name("qnoded demo root, not for real keys")
    authority = x509.BasicConstraints(ca=True, path_length=0)
    root = _builder(root_name, root_name, root_key, root_key).add_extension(authority, critical=True)
    root = root.add_extension(_usage(certificates=True), critical=True)
    written = _write(folder / ROOT, root.sign(root_key, hashes.SHA256()), root_key)
    places = x509.SubjectAlternativeName(map(_place, hosts))
    wanted = [(name, ExtendedKeyUsageOID.SERVER_AUTH, places) for name in kmes]
    for name in saes:
        identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SAE_URI + name)])
        wanted.append((name, ExtendedKeyUsageOID.CLIENT_AUTH, identity))
    for name, usage, alternatives in wanted:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(name), root_name, key, root_key)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(alternatives, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        written += _write(folder / name, certificate, key)
    return written


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _place(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> list[Path]:
    paths = [stem.with_name(stem.name + ending) for ending in (".crt", ".key")]
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(paths[1], Secret(encoded))
    try:
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    except OSError as error:
        raise ConfigError(paths[0], "certificate", error.strerror or str(error), "check the folder") from None
    return paths
