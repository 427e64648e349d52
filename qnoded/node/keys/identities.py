"""Identities in files: the private one of this node, and those of its peers."""

from __future__ import annotations

from pathlib import Path

from qnoded.errors import ConfigError
from qnoded.exchange.bootstrapping import IDENTITY_BYTES, Identity
from qnoded.node.keys.secret_files import IDENTITY_CREDENTIAL, WHERE, credential, read_secret


def own_identity(path: Path | None) -> Identity:
    """Return what this node signs with: systemd's credential where there is one, else the file.

    Raises
    ------
    ConfigError
        If there is neither, the file cannot be used, or others may read it.
    """
    path = credential(IDENTITY_CREDENTIAL) or path
    if path is None:
        problem = "no identity, with which this node signs: no systemd credential and no file"
        raise ConfigError(WHERE, "identity", problem, "make one: qnodectl pki identity DIR NAME")
    with read_secret(path) as seed:
        return Identity(seed, str(path))


def pinned_identity(path: Path) -> bytes:
    """Return the public identity of a peer, 1952 bytes.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds none.
    """
    try:
        with path.open("rb") as file:
            content = file.read(IDENTITY_BYTES + 1)
    except OSError as error:
        raise ConfigError(path, "peer_identity", error.strerror or str(error), "check path and owner") from None
    if len(content) != IDENTITY_BYTES:
        found = "more" if len(content) > IDENTITY_BYTES else len(content)
        problem = f"holds {found} bytes, {IDENTITY_BYTES} are due"
        raise ConfigError(path, "peer_identity", problem, "copy the peer's NAME.identity again")
    return content
