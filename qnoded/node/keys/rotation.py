"""Another key that seals the store, in place of one that somebody may know.

All in one transaction of a store that nobody else has open: a crash leaves it with the old key or with the new one. The
keys of blocks stay as they are, so whoever has the old key and an old copy of the file can still read what was in it.
"""

from __future__ import annotations

from pathlib import Path

from qnoded.errors import ConfigError
from qnoded.node.keys import schema
from qnoded.node.keys.database import Database, Work
from qnoded.node.keys.sealing import Keyring
from qnoded.secret import Secret


def rotate(path: Path, old: Secret, new: Secret) -> int:
    """Seal a store's block keys with another key; return how many there are. Blocks until it is on disk.

    Parameters
    ----------
    path
        The store's file, which no daemon has open.
    old, new
        32 bytes each.

    Raises
    ------
    ConfigError
        If there is no such store, it is in use, or the old key is not its own.
    """
    if not path.is_file():
        raise ConfigError(path, "key store", "is not there", "name keys.sqlite in the node's state_dir")
    retired, successor, count = Keyring(old), Keyring(new), 0

    def reseal(work: Work) -> None:
        nonlocal count
        schema.prepare(work, retired, str(path))
        for number, link, name, simulated, sealed in work.rows(
            "SELECT number, link, name, simulated, block_key FROM block WHERE block_key NOT NULL"
        ):
            resealed = retired.resealed(sealed, successor, link, name, simulated)
            work.row("UPDATE block SET block_key = ? WHERE number = ?", (resealed, number))
            count += 1
        work.row("UPDATE store SET proof = ?", (successor.proof(),))

    # Closing folds the log into the file and empties it: no page sealed with the old key is left behind there.
    Database(path, reseal).close()
    return count
