"""What happens to a store without anybody asking: links enrolled, agreements kept, keys expired, traces erased.

Jobs for the store's database.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from qnoded.errors import ConfigError
from qnoded.exchange.authenticating import HASH_KEYS_BYTES
from qnoded.exchange.bootstrapping import AGREED_BYTES
from qnoded.exchange.committing import BLOCK_ID_BYTES
from qnoded.node.keys.blocks import ROLES, TAGS_OF, settle_begun
from qnoded.node.keys.contents import WHERE, Contents, LinkKeys, Role
from qnoded.node.keys.database import Work
from qnoded.node.keys.key_ids import AGREEMENTS, TICKET_BYTES
from qnoded.node.keys.pools import WITHHOLDING
from qnoded.node.keys.schema import SETTLED
from qnoded.node.keys.sealing import BlockKey, Use
from qnoded.secret import Secret

ENROLMENT: Final = "first secret"
FEWEST_TAGS_BYTES: Final = 256
"""Per direction: enough for the first block on any link that is worth running."""
SMALLEST_SECRET_BYTES: Final = TICKET_BYTES + 2 * (HASH_KEYS_BYTES + FEWEST_TAGS_BYTES)
ROOM_BYTES: Final = 1 << 16
"""Sealed keys of a block with half a million secret bits."""
AGREEMENTS_KEPT: Final = 24
"""The newest ones, a day of them where each serves for an hour: keys of which the names are still on their way."""


def load(work: Work, contents: Contents) -> None:
    """Fill the memory from the file, once what the last run left open is settled."""
    settle_begun(work)
    for link, role, origin, block, ticket in work.rows("SELECT link, role, origin, ticket_block, ticket FROM link"):
        opened = contents.block_key(work, block).open(ticket, Use.TICKET, 0, link)
        contents.links[link] = LinkKeys(link, role, origin, opened)
    for link, owner, count in work.rows(
        "SELECT link, owner, count(*) FROM stored WHERE simulated <= ? GROUP BY link, owner",
        (contents.rules.simulation,),
    ):
        contents.links[link].stock[owner] = count
    for link, halted in work.rows("SELECT DISTINCT link, halted FROM pool WHERE halted IN (?, ?)", WITHHOLDING):
        contents.links[link].withheld = halted
    for link, number, block, sealed in work.rows("SELECT link, number, block, sealed FROM agreed"):
        contents.links[link].agreements[number] = (block, sealed)
    for known in contents.links.values():
        numbers = sorted(known.agreements)
        if known.role == "bob":
            # He writes an agreement before alice does: whether she has the newest, the next session shows.
            numbers = numbers[:-1]
        known.shared = max(numbers, default=-1)


def enrol(work: Work, contents: Contents, link: str, role: Role, origin: str, secret: Secret, utc: float) -> None:
    """Begin a link with what both ends share, or begin it anew: whatever it had before is erased.

    Parameters
    ----------
    role
        Of this end.
    origin
        What the secret is, for the ledger.
    secret
        The same at both ends and never used before: ticket, then one half for each direction's authentication.

    Raises
    ------
    ConfigError
        If the secret is too short or was used before.
    """
    if len(secret) < SMALLEST_SECRET_BYTES:
        problem, remedy = f"has {len(secret)} bytes", f"give at least {SMALLEST_SECRET_BYTES}, random ones"
        raise ConfigError(ENROLMENT, f"link {link}", problem, remedy)
    if was_used(work, contents, secret):
        problem, remedy = "was used before", "make a new one for both ends: its bytes are used once"
        raise ConfigError(ENROLMENT, f"link {link}", problem, remedy)
    forget(work, contents, link)
    work.row("INSERT INTO enrolled VALUES (?)", (_fingerprint(secret),))
    block, cipher = _block(work, contents, link, f"enrolled by {origin}", utc)
    view = secret.view()
    ticket = cipher.seal(view[:TICKET_BYTES], Use.TICKET, 0, link)
    work.row(
        "INSERT INTO link (link, role, origin, ticket_block, ticket) VALUES (?, ?, ?, ?, ?)",
        (link, role, origin, block, ticket),
    )
    count = (len(secret) - TICKET_BYTES) // 2
    for which, sender in enumerate(ROLES):
        start = TICKET_BYTES + which * count
        sealed = cipher.seal(view[start : start + count], TAGS_OF[sender], 0, link)
        work.row(
            "INSERT INTO pool (link, sender, cursor, next, enrolled) VALUES (?, ?, 0, ?, ?)",
            (link, sender, count, count),
        )
        work.row("INSERT INTO pool_part VALUES (?, ?, 0, ?, ?, ?)", (link, sender, count, block, sealed))
    known = LinkKeys(link, role, origin, Secret(view[:TICKET_BYTES]))
    work.after(lambda: contents.links.__setitem__(link, known))


def was_used(work: Work, contents: Contents, secret: Secret) -> bool:
    """Tell whether any link of this store ever began with a secret."""
    del contents
    return work.row("SELECT 1 FROM enrolled WHERE digest = ?", (_fingerprint(secret),)) is not None


def forget(work: Work, contents: Contents, link: str) -> None:
    """Erase all secrets of a link; its ledger stays."""
    for table in ("link", "stored", "pool", "pool_part", "agreed", "fetched"):
        work.row(f"DELETE FROM {table} WHERE link = ?", (link,))  # noqa: S608 - a name from the line above
    work.row(
        "UPDATE block SET block_key = NULL, whole = NULL, "
        "state = CASE state WHEN 'prepared' THEN 'abandoned' ELSE state END WHERE link = ?",
        (link,),
    )
    work.after(lambda: contents.links.pop(link, None))
    work.after(contents.forget_block_keys)


def keep_agreement(work: Work, contents: Contents, link: str, number: int, secret: Secret, utc: float) -> None:
    """Keep what a post-quantum exchange gave, the same at both ends under one number.

    Raises
    ------
    ConfigError
        If the number is not newer than the last, or the secret has another length.
    """
    known = contents.of(link)
    newest = max(known.agreements, default=-1)
    if number <= newest or len(secret) != AGREED_BYTES:
        problem = f"agreement {number} of {len(secret)} bytes does not follow {newest}"
        raise ConfigError(WHERE, f"link {link}", problem, f"number them upwards, {AGREED_BYTES} bytes each")
    block, cipher = _block(work, contents, link, "agreement", utc)
    sealed = cipher.seal(secret, Use.AGREED, number, link)
    work.row("INSERT INTO agreed VALUES (?, ?, ?, ?)", (link, number, block, sealed))
    # Names tell agreements apart by their residue alone.
    namesakes = {one for one in known.agreements if (number - one) % AGREEMENTS == 0}
    outdated = sorted(namesakes.union(sorted(known.agreements)[: 1 - AGREEMENTS_KEPT or None]))
    work.many("DELETE FROM agreed WHERE link = ? AND number = ?", [(link, one) for one in outdated])
    work.many("DELETE FROM fetched WHERE link = ? AND agreed = ?", [(link, one) for one in outdated])

    def renew() -> None:
        known.agreements[number] = (block, sealed)
        known.agreed_keys = 0
        if known.role == "alice":
            # Bob wrote it before he let her.
            known.shared = number
        for one in outdated:
            del known.agreements[one]

    work.after(renew)


def demand_room(work: Work, contents: Contents) -> None:
    """Write as much as a block's keys take, and take it back in the same commit."""
    del contents
    work.row("CREATE TABLE room (filler BLOB)")
    work.row("INSERT INTO room VALUES (zeroblob(?))", (ROOM_BYTES,))
    work.row("DROP TABLE room")


def tidy(work: Work, contents: Contents, utc: float) -> int:
    """Erase what has expired and the keys of blocks of which nothing is left; return how many keys expired."""
    expired = 0
    for link, owner, count in work.rows(
        "SELECT link, owner, count(*) FROM stored WHERE expires_utc <= ? AND simulated <= ? GROUP BY link, owner",
        (utc, contents.rules.simulation),
    ):
        expired += count
        work.after(contents.counting(link, owner, -count))
    work.row("DELETE FROM stored WHERE expires_utc <= ?", (utc,))
    work.row("DELETE FROM handed WHERE utc < ?", (utc - contents.rules.audit_s,))
    used = "".join(
        f" AND number NOT IN (SELECT {column} FROM {table})"  # noqa: S608 - names from the lines below
        for table, column in (
            ("stored", "block"),
            ("pool_part", "block"),
            ("agreed", "block"),
            ("link", "ticket_block"),
        )
    )
    for (number,) in work.rows(f"SELECT number FROM block WHERE block_key NOT NULL AND state = ?{used}", (SETTLED,)):  # noqa: S608 - as above
        work.row("UPDATE block SET block_key = NULL WHERE number = ?", (number,))
        work.after(lambda number=number: contents.forget_block_key(number))  # type: ignore[misc]  # bound at once
    return expired


def _fingerprint(secret: Secret) -> bytes:
    return hashlib.sha256(secret.view()).digest()


def _block(work: Work, contents: Contents, link: str, outcome: str, utc: float) -> tuple[int, BlockKey]:
    """Write a row of the ledger for secrets that come from no block, and return its number and key."""
    name = os.urandom(BLOCK_ID_BYTES)
    cipher, sealed = contents.keyring.new_block_key(link, name, 0)
    (number,) = work.row(
        "INSERT INTO block (link, name, state, made_utc, simulated, account, block_key) VALUES (?, ?, ?, ?, 0, ?, ?) "
        "RETURNING number",
        (link, name, SETTLED, utc, outcome, sealed),
    )
    return number, cipher
