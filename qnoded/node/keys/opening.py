"""From a node's settings to its key store, and from a secret file to a link that begins with it."""

from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from qnoded.errors import ConfigError
from qnoded.node.keys.contents import Role, StoreRules
from qnoded.node.keys.secret_files import read_secret, sealing_key
from qnoded.node.keys.store import KeyStore
from qnoded.node.keys.upkeep import SMALLEST_SECRET_BYTES
from qnoded.node_settings.keys import KeysSettings
from qnoded.secret import Secret

FILE_NAME: Final = "keys.sqlite"
"""In the node's state directory."""
SECRET_FILE_ORIGIN: Final = "secret file"  # noqa: S105 - a word for the ledger


def open_store(settings: KeysSettings, state_dir: Path, *, simulation: bool) -> KeyStore:
    """Open the key store of a node; blocks for some flushes of the disk.

    Parameters
    ----------
    settings
        ``[keys]`` of the node's file.
    state_dir
        Where the store lies.
    simulation
        What the node says: keys of simulated instruments are handed out only if it is True.

    Raises
    ------
    ConfigError
        If the store or the key that seals it cannot be used.
    """
    rules = StoreRules(
        simulation=simulation,
        key_bytes=settings.stored_key_bits // 8,
        lifetime_s=settings.lifetime_s,
        most_keys=settings.most_keys,
        low_keys=settings.low_keys,
        pool_bytes=settings.authentication_bytes,
        low_pool_bytes=settings.low_authentication_bytes,
    )
    with sealing_key(settings.kek) as kek:
        return KeyStore(state_dir / FILE_NAME, kek, rules)


def enrol_with_file(store: KeyStore, link: str, role: Role, path: Path) -> Future[None]:
    """Begin a link, or begin it anew, with a secret file that both ends have; see ``KeyStore.enrol``.

    Raises
    ------
    ConfigError
        If the file cannot be used, or others may read it.
    """
    return store.enrol(link, role, SECRET_FILE_ORIGIN, first_secret(path))


def first_secret(path: Path) -> Secret:
    """Return what a link begins with.

    Raises
    ------
    ConfigError
        If the file cannot be used, others may read it, or it is too short.
    """
    secret = read_secret(path)
    if (found := len(secret)) < SMALLEST_SECRET_BYTES:
        secret.wipe()
        problem = f"holds {found} bytes, at least {SMALLEST_SECRET_BYTES} are due"
        remedy = "make one with qnodectl keys new-secret, and carry it to both nodes"
        raise ConfigError(path, "first_secret", problem, remedy)
    return secret


def remove_if_used(store: KeyStore, path: Path) -> bool:
    """Delete a secret file that a link has begun with; return whether one waits for its use. Blocks for the disk.

    The store remembers which files were used, but a store may get lost. With the file still there the link would then
    begin a second time with the same key for authentication.

    Raises
    ------
    ConfigError
        If it cannot be read or deleted.
    """
    if not os.path.lexists(path):
        return False
    with read_secret(path) as secret:
        used = store.was_used(secret).result()
    if not used:
        return True
    try:
        path.unlink()
    except OSError as error:
        problem = f"was used and cannot be deleted: {error.strerror}"
        remedy = "delete it by hand now: were the store ever lost, its key would be used a second time"
        raise ConfigError(path, "first secret", problem, remedy) from None
    return False
