"""CURVE key files of a link: made with the right permissions, and refused with the wrong ones.

Two text files per end, in the form that czmq and pyzmq write: ``NAME.key`` (public, give it to the peer) and
``NAME.key_secret`` (both keys, mode 0600). CURVE guards the channel against strangers; the secrecy of distilled keys
does not rest on it.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from qnoded.errors import ConfigError
from qnoded.node.whole_file import create_file
from qnoded.secret import Secret

KEY_BYTES: Final = 32
LARGEST_FILE_BYTES: Final = 4096
"""A key file has some 300; more is another file."""
SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
OTHERS: Final = 0o077
"""Permission bits that a secret file must not have."""
MAKE_KEYS: Final = "make a pair with `qnodectl keygen DIR NAME`"

_ENTRY: Final = re.compile(r'^\s*(public|secret)-key\s*=\s*"?([^"\s]+)"?\s*$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """The key pair of one end of a link."""

    public: bytes
    """32 bytes."""
    secret: Secret
    """32 bytes."""


def make_keys(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a new key pair; return the paths of its public and its secret file.

    Raises
    ------
    ConfigError
        If one of the files is there already: keys in use are never overwritten.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(directory, "key files", error.strerror or str(error), "give another folder") from None
    public_path, secret_path = directory / f"{name}.key", directory / f"{name}.key_secret"
    public, secret = (key.decode() for key in zmq.curve_keypair())
    both = f'curve\n    public-key = "{public}"\n    secret-key = "{secret}"\n'
    _write(secret_path, SECRET_MODE, f"# CURVE key pair of {name}: keep it here\n{both}")
    half = f'curve\n    public-key = "{public}"\n'
    try:
        _write(public_path, PUBLIC_MODE, f"# CURVE public key of {name}: give it to the peer\n{half}")
    except ConfigError:
        # Half a pair would only stand in the way of the next try.
        secret_path.unlink(missing_ok=True)
        raise
    return public_path, secret_path


def load_keys(path: Path) -> CurveKeys:
    """Read this end's key pair.

    Raises
    ------
    ConfigError
        If the file cannot be read, others may read it, or it holds no secret key.
    """
    text, mode = _read(path, "secret_key")
    if [kind for kind, _ in _ENTRY.findall(text)] == ["public"]:
        remedy = f"name the secret one of the pair: {path.stem}.key_secret"
        raise ConfigError(path, "secret_key", "this file holds a public key alone", remedy)
    if mode & OTHERS:
        problem = f"its mode is {mode:04o}, so others may read the secret key"
        raise ConfigError(path, "secret_key", problem, f"chmod 600 {path}, and make a new pair if it has leaked")
    secret = _entry(path, "secret_key", text, "secret")
    # Derived, not read: a file whose two halves do not belong together cannot mislead.
    public = zmq.curve_public(z85.encode(secret))
    return CurveKeys(z85.decode(public), Secret(secret))


def load_peer(path: Path) -> bytes:
    """Read the peer's public key, 32 bytes.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no public key, or holds a secret one, which has no business here.
    """
    text, _ = _read(path, "peer_key")
    if any(kind == "secret" for kind, _ in _ENTRY.findall(text)):
        problem = "this file holds a secret key"
        raise ConfigError(
            path, "peer_key", problem, "use the peer's public NAME.key; its secret must not leave the peer"
        )
    return _entry(path, "peer_key", text, "public")


def _write(path: Path, mode: int, text: str) -> None:
    try:
        create_file(path, text.encode(), mode)
    except FileExistsError:
        raise ConfigError(path, "key file", "it exists", "choose another name or remove the old pair") from None
    except OSError as error:
        raise ConfigError(path, "key file", error.strerror or str(error), "check the folder and its disk") from None


def _read(path: Path, key: str) -> tuple[str, int]:
    """Return what a key file holds, and its permission bits."""
    try:
        # A named pipe must not hold the start-up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_FILE_BYTES:
                raise ConfigError(path, key, "this is no key file", MAKE_KEYS)
            text = file.read(LARGEST_FILE_BYTES).decode("ascii", errors="replace")
            return text, stat.S_IMODE(about.st_mode)
    except OSError as error:
        raise ConfigError(path, key, error.strerror or str(error), MAKE_KEYS) from None


def _entry(path: Path, key: str, text: str, kind: str) -> bytes:
    found = [value for name, value in _ENTRY.findall(text) if name == kind]
    if len(found) != 1:
        raise ConfigError(path, key, f"it holds {len(found)} {kind} keys, one is due", MAKE_KEYS)
    try:
        decoded: bytes = z85.decode(found[0].encode())
    except (KeyError, ValueError, struct.error):
        decoded = b""
    if len(decoded) != KEY_BYTES:
        raise ConfigError(path, key, f"its {kind} key is not 40 characters of Z85", MAKE_KEYS)
    return decoded
