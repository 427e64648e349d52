"""Secrets in files of their own: the key that seals the store, and what two nodes share before their first key.

A file is used only if nobody but its owner can read it, and the owner is this process's user or root. Under systemd the
service's credentials come first (``LoadCredential=``): they lie in memory and are gone with the service.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError
from qnoded.node.whole_file import PRIVATE, create_file, write_all
from qnoded.secret import Secret

SEALING_KEY_BYTES: Final = 32
SEALING_CREDENTIAL: Final = "kek"
"""Name of the systemd credential that holds the sealing key."""
IDENTITY_CREDENTIAL: Final = "identity"
"""Name of the one that holds the node's private identity."""
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
WHERE: Final = "keys"
FILE_KIND: Final = "secret file"
LARGEST_SECRET_BYTES: Final = 1 << 24


def sealing_key(path: Path | None) -> Secret:
    """Return the key-encryption key: systemd's credential where there is one, else the file.

    Raises
    ------
    ConfigError
        If there is neither, or the file may be read by others or has another length than 32 bytes.
    """
    path = credential(SEALING_CREDENTIAL) or path
    if path is None:
        problem = "no key that seals the store: no systemd credential and no file"
        raise ConfigError(WHERE, "kek", problem, f"make one: qnodectl keys new-kek FILE ({SEALING_KEY_BYTES} bytes)")
    return kek_file(path)


def credential(name: str) -> Path | None:
    """Return the file of one of systemd's credentials, or None where the service was given none of that name."""
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_file() else None


def kek_file(path: Path) -> Secret:
    """Return the key-encryption key in a file; errors as of ``sealing_key``."""
    secret = read_secret(path)
    if len(secret) != SEALING_KEY_BYTES:
        found = len(secret)
        secret.wipe()
        remedy = "make one: qnodectl keys new-kek FILE"
        raise ConfigError(path, "kek", f"holds {found} bytes, {SEALING_KEY_BYTES} are due", remedy)
    return secret


def read_secret(path: Path) -> Secret:
    """Return all bytes of a private file.

    Raises
    ------
    ConfigError
        If it cannot be read, is no regular file, or somebody else may read or change it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(path, FILE_KIND, error.strerror or str(error), "check the path and its owner") from None
    try:
        # Of the open file, not of the path: it cannot be exchanged in between.
        size_bytes = _demand_private(path, os.fstat(descriptor))
        content = bytearray(size_bytes)
        filled = os.readv(descriptor, [content])
    finally:
        os.close(descriptor)
    secret = Secret(memoryview(content)[:filled])
    content[:] = bytes(size_bytes)
    if filled != size_bytes:
        problem = f"gave {filled} of its {size_bytes} bytes"
        raise ConfigError(path, FILE_KIND, problem, "look at the disk that it is on")
    return secret


def _demand_private(path: Path, facts: os.stat_result) -> int:
    """Return the size of a file that only its owner can read."""
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(path, FILE_KIND, "is no regular file", "give a file of random bytes")
    if facts.st_uid not in (os.geteuid(), 0):
        problem = f"belongs to user {facts.st_uid}, this is user {os.geteuid()}"
        raise ConfigError(path, FILE_KIND, problem, f"chown it: chown {os.geteuid()} {path}")
    # systemd may let the service's user in by an access list, whose mask shows in the place of the group's rights.
    listed = facts.st_uid == 0 and path == credential(path.name)
    if facts.st_mode & (stat.S_IRWXO if listed else stat.S_IRWXG | stat.S_IRWXO):
        problem = f"has mode {stat.S_IMODE(facts.st_mode):04o}: others may read it"
        raise ConfigError(path, FILE_KIND, problem, f"run chmod 600 {path} and consider the secret known")
    if not 0 < facts.st_size <= LARGEST_SECRET_BYTES:
        problem = f"holds {facts.st_size} bytes, 1 to {LARGEST_SECRET_BYTES} are due"
        raise ConfigError(path, FILE_KIND, problem, "make it anew")
    return facts.st_size


def write_secret(path: Path, secret: Secret) -> None:
    """Write a new private file; never over an old one, since a secret that is lost takes its keys with it.

    Raises
    ------
    ConfigError
        If there is such a file already, or it cannot be written.
    """
    try:
        create_file(path, secret.view())
    except FileExistsError:
        raise ConfigError(path, FILE_KIND, "exists", "move it away first, if nothing needs it any more") from None
    except OSError as error:
        raise ConfigError(path, FILE_KIND, error.strerror or str(error), "check the folder") from None


@contextmanager
def reserved(path: Path, size_bytes: int) -> Iterator[Callable[[Secret], None]]:
    """Have room for a private file before there is its content: what can be had only once must find its place.

    Gives what writes the content and puts the file at its path, whole, in the place of a file that is there already.

    Parameters
    ----------
    path
        Of the file.
    size_bytes
        Room to have.

    Raises
    ------
    ConfigError
        If the file cannot be written there, or something that is no regular file would have to give way.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigError(path, FILE_KIND, "is there and no regular file", "give the path of a file")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise ConfigError(path, FILE_KIND, error.strerror or str(error), "check the folder") from None
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            os.posix_fallocate(descriptor, 0, size_bytes)

            def write(secret: Secret) -> None:
                write_all(file, secret.view())
                os.ftruncate(descriptor, len(secret))
                os.fsync(descriptor)
                beside.replace(path)

            yield write
    except OSError as error:
        raise ConfigError(path, FILE_KIND, error.strerror or str(error), "check the folder and its disk") from None
    finally:
        beside.unlink(missing_ok=True)


def new_secret(path: Path, size_bytes: int) -> None:
    """Write a new private file of random bytes; errors as of ``write_secret``."""
    with Secret(os.urandom(size_bytes)) as secret:
        write_secret(path, secret)
