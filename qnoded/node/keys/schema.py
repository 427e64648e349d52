"""The tables of the key store. Nothing in them is secret: key bytes are sealed, names are random or public."""

from __future__ import annotations

from typing import Final

from qnoded.errors import ConfigError
from qnoded.node.keys.database import Work
from qnoded.node.keys.sealing import Keyring

VERSION: Final = 1
PREPARED: Final = "prepared"
SETTLED: Final = "settled"
ABANDONED: Final = "abandoned"
NO_KEY: Final = "no key"
BEGUN: Final = "begun"

_TABLES: Final = (
    # proof: shows that the right key opens the store
    "CREATE TABLE store (version INTEGER NOT NULL, proof BLOB NOT NULL)",
    # next_*: serial numbers that are still free, counted at alice's end; issued: keys made here from agreements alone
    """CREATE TABLE link (
        link TEXT PRIMARY KEY, role TEXT NOT NULL, origin TEXT NOT NULL,
        next_alice_key INTEGER NOT NULL DEFAULT 0, next_bob_key INTEGER NOT NULL DEFAULT 0,
        ticket_block INTEGER NOT NULL, ticket BLOB NOT NULL, issued INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    # fingerprints of first secrets: none is ever used twice
    "CREATE TABLE enrolled (digest BLOB PRIMARY KEY) WITHOUT ROWID",
    # one row for each block from its beginning on, key or not: the ledger. block_key and whole are erased as soon as
    # nothing needs them.
    """CREATE TABLE block (
        number INTEGER PRIMARY KEY, link TEXT NOT NULL, name BLOB NOT NULL UNIQUE, state TEXT NOT NULL,
        made_utc REAL NOT NULL, simulated INTEGER NOT NULL, account TEXT NOT NULL, allotment TEXT,
        block_key BLOB, whole BLOB
    )""",
    "CREATE INDEX block_prepared ON block (link, name) WHERE state = 'prepared'",
    # keys that wait to be handed out; a row is deleted in the transaction that hands its key out
    """CREATE TABLE stored (
        link TEXT NOT NULL, owner TEXT NOT NULL, serial INTEGER NOT NULL,
        block INTEGER NOT NULL, simulated INTEGER NOT NULL, expires_utc REAL NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (link, owner, serial)
    ) WITHOUT ROWID""",
    # who got what, without a bit of it
    """CREATE TABLE handed (
        number INTEGER PRIMARY KEY, utc REAL NOT NULL, link TEXT NOT NULL, master TEXT NOT NULL, slave TEXT NOT NULL,
        side TEXT NOT NULL, mode TEXT NOT NULL, first_serial INTEGER NOT NULL, keys INTEGER NOT NULL,
        key_bytes INTEGER NOT NULL
    )""",
    # bytes that authenticate what the sender says; cursor: all before it was used or skipped, next: first that is not
    # allotted yet, enrolled: bytes of the first secret, hash_first: where the hash keys in use stand, tags: made with
    # them, halted: why it stopped
    """CREATE TABLE pool (
        link TEXT NOT NULL, sender TEXT NOT NULL, cursor INTEGER NOT NULL, next INTEGER NOT NULL,
        enrolled INTEGER NOT NULL,
        hash_first INTEGER, tags INTEGER NOT NULL DEFAULT 0, halted TEXT, PRIMARY KEY (link, sender)
    ) WITHOUT ROWID""",
    """CREATE TABLE pool_part (
        link TEXT NOT NULL, sender TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
        block INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (link, sender, first)
    ) WITHOUT ROWID""",
    """CREATE TABLE agreed (
        link TEXT NOT NULL, number INTEGER NOT NULL, block INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (link, number)
    ) WITHOUT ROWID""",
    # keys made from agreements alone that were handed out to slaves here
    """CREATE TABLE fetched (
        link TEXT NOT NULL, agreed INTEGER NOT NULL, serial INTEGER NOT NULL, PRIMARY KEY (link, agreed, serial)
    ) WITHOUT ROWID""",
)


def prepare(work: Work, keyring: Keyring, where: str) -> None:
    """Make the tables in a new file, or check that this program and this key belong to the file.

    Raises
    ------
    ConfigError
        If another version or another key wrote it.
    """
    if work.row("SELECT 1 FROM sqlite_schema WHERE name = 'store'") is None:
        for table in _TABLES:
            work.row(table)
        work.row("INSERT INTO store VALUES (?, ?)", (VERSION, keyring.proof()))
        return
    version, proof = work.row("SELECT version, proof FROM store")
    if version != VERSION:
        problem = f"was written by version {version} of the store, this is version {VERSION}"
        raise ConfigError(where, "key store", problem, "use the program that wrote it, or start with an empty file")
    keyring.demand_proof(proof, where)
