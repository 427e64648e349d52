"""A block's key on its way into the store: written by both ends, then servable at both, or erased at both.

Jobs for the store's database; ``exchange.committing`` says when each is due.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any, Final

from qnoded.errors import LocalProtocolError, RemoteProtocolError
from qnoded.exchange.committing import BLOCK_ID_BYTES, CHECK_BYTES, Allotment, BlockAccount, Run
from qnoded.node.keys.contents import Contents, Role
from qnoded.node.keys.database import Work
from qnoded.node.keys.key_ids import LONGEST_KEY_BYTES
from qnoded.node.keys.schema import ABANDONED, BEGUN, NO_KEY, PREPARED, SETTLED
from qnoded.node.keys.sealing import BlockKey, Use
from qnoded.secret import Secret

ROLES: Final[tuple[Role, Role]] = ("alice", "bob")
KEYS_OF: Final[dict[Role, Use]] = {"alice": Use.KEY_OF_ALICE, "bob": Use.KEY_OF_BOB}
TAGS_OF: Final[dict[Role, Use]] = {"alice": Use.TAGS_OF_ALICE, "bob": Use.TAGS_OF_BOB}
MOST_SHARE_OF_TAGS: Final = 4
"""At most one part in four of a block goes to each direction's authentication, however dry it is."""
NODE_ENDED: Final = "the node ended while the block was in work"
"""Outcome of a block, as the ledger has it."""
GRACE_S: Final = 3600.0
"""The end that hands a key out second keeps it this much longer: the clocks of the two need not agree."""


def begin(work: Work, contents: Contents, link: str, begun: bytes, account: BlockAccount, utc: float) -> None:
    """Write down that a block is in work: whatever happens, its row says how it ended."""
    contents.of(link)
    _write_row(work, link, begun, BEGUN, account, utc)


def propose(
    work: Work,
    contents: Contents,
    link: str,
    name: bytes,
    key: Secret,
    account: BlockAccount,
    begun: bytes | None,
    utc: float,
) -> Allotment:
    """Write a block as PREPARED and decide what becomes of its bytes.

    Raises
    ------
    LocalProtocolError
        If it was begun under a name, and given up since.
    """
    allotment = _allot(work, contents, link, len(key))
    _write(work, contents, link, name, key, account, allotment, begun, utc)
    return allotment


def accept(
    work: Work,
    contents: Contents,
    link: str,
    name: bytes,
    key: Secret,
    account: BlockAccount,
    allotment: Allotment,
    begun: bytes | None,
    utc: float,
) -> None:
    """Write a block as PREPARED as the peer decided.

    Raises
    ------
    RemoteProtocolError
        If the peer gives a number away that was given before, or more bytes than there are.
    LocalProtocolError
        If it was begun under a name, and given up since.
    """
    free = _next_keys(work, link)
    pools = _pools(work, link)
    fits = (
        allotment.total_bytes <= len(key)
        and allotment.key_bytes <= LONGEST_KEY_BYTES
        and allotment.alice_keys.first >= free["alice"]
        and allotment.bob_keys.first >= free["bob"]
        and allotment.alice_tags.first >= pools["alice"][1]
        and allotment.bob_tags.first >= pools["bob"][1]
    )
    if not fits:
        problem = (
            "the peer allots numbers or bytes that are taken; both stores must belong to this link: enrol both anew"
        )
        raise RemoteProtocolError(problem)
    number, cipher = _write(work, contents, link, name, key, account, allotment, begun, utc)
    # Alice settles first and may say so with what the block itself brought her: its seals must be readable here before.
    _write_tags(work, cipher, link, number, "alice", allotment, key.view())


def settle(work: Work, contents: Contents, link: str, name: bytes, utc: float) -> None:
    """Make a PREPARED block servable; does nothing to one that is."""
    block = _block(work, link, name)
    if block["state"] == SETTLED:
        return
    if block["state"] != PREPARED:
        problem = f"block {name.hex()} of link {link} was abandoned and cannot be served; this is a mistake of qnoded"
        raise LocalProtocolError(problem)
    number, simulated = block["number"], block["simulated"]
    allotment = _allotment(block["allotment"])
    cipher = contents.block_key(work, number)
    lifetime_s = contents.rules.lifetime_s
    with cipher.open(block["whole"], Use.WHOLE_BLOCK, 0, link, name, PREPARED) as whole:
        view, at = whole.view(), CHECK_BYTES
        for owner, run in zip(ROLES, (allotment.alice_keys, allotment.bob_keys), strict=True):
            expires = utc + lifetime_s + (0.0 if owner == contents.of(link).role else GRACE_S)
            rows = []
            for serial in range(run.first, run.stop):
                content = view[at : at + allotment.key_bytes]
                sealed = cipher.seal(content, KEYS_OF[owner], serial, link, simulated)
                rows.append((link, owner, serial, number, simulated, expires, sealed))
                at += allotment.key_bytes
            work.many("INSERT INTO stored VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            work.after(contents.counting(link, owner, run.count))
        for sender in ROLES:
            # At bob's end alice's were written by ``accept``.
            if sender == contents.of(link).role or sender == "bob":
                _write_tags(work, cipher, link, number, sender, allotment, view)
    work.row("UPDATE block SET state = ?, whole = NULL WHERE number = ?", (SETTLED, number))


def abandon(work: Work, contents: Contents, link: str, name: bytes) -> None:
    """Erase a PREPARED block; does nothing to one that is erased."""
    block = _block(work, link, name)
    if block["state"] == SETTLED:
        problem = f"block {name.hex()} of link {link} may have been served and cannot be abandoned; a mistake of qnoded"
        raise LocalProtocolError(problem)
    work.row(
        "UPDATE block SET state = ?, whole = NULL, block_key = NULL WHERE number = ?", (ABANDONED, block["number"])
    )
    work.row("DELETE FROM pool_part WHERE block = ?", (block["number"],))
    work.after(lambda: contents.forget_block_key(block["number"]))


def prepared(work: Work, _contents: Contents, link: str) -> list[bytes]:
    """Return the names of all blocks that wait for a verdict, oldest first."""
    rows = work.rows("SELECT name FROM block WHERE link = ? AND state = 'prepared' ORDER BY number", (link,))
    return [name for (name,) in rows]


def is_settled(work: Work, _contents: Contents, link: str, name: bytes) -> bool:
    """Tell whether a block is, or once was, servable."""
    row = work.row("SELECT 1 FROM block WHERE link = ? AND name = ? AND state = ?", (link, name, SETTLED))
    return row is not None


def note(work: Work, contents: Contents, link: str, account: BlockAccount, begun: bytes | None, utc: float) -> None:
    """Write down a block that gave no key; nothing where it was begun under a name and went on since."""
    contents.of(link)
    if begun is None:
        _write_row(work, link, os.urandom(BLOCK_ID_BYTES), NO_KEY, account, utc)
        return
    work.row(
        "UPDATE block SET state = ?, account = ? WHERE link = ? AND name = ? AND state = ?",
        (NO_KEY, account.text(), link, begun, BEGUN),
    )


def settle_begun(work: Work) -> None:
    """Say of the blocks that were in work when the node ended that they gave no key."""
    work.row(
        "UPDATE block SET state = ?, account = json_set(account, '$.outcome', ?) WHERE state = ?",
        (NO_KEY, NODE_ENDED, BEGUN),
    )


def _write_row(work: Work, link: str, name: bytes, state: str, account: BlockAccount, utc: float) -> None:
    work.row(
        "INSERT INTO block (link, name, state, made_utc, simulated, account) VALUES (?, ?, ?, ?, ?, ?)",
        (link, name, state, utc, account.simulated, account.text()),
    )


def _allot(work: Work, contents: Contents, link: str, size_bytes: int) -> Allotment:
    rules, stock = contents.rules, contents.of(link).stock
    usable = size_bytes - CHECK_BYTES
    if usable < 0:
        problem = f"a key of {size_bytes} bytes is not worth its {CHECK_BYTES} bytes of check; distil larger blocks"
        raise LocalProtocolError(problem)
    pools = _pools(work, link)
    tags = [
        min(max(0, rules.pool_bytes - (pools[sender][1] - pools[sender][0])), usable // MOST_SHARE_OF_TAGS)
        for sender in ROLES
    ]
    keys, rest = divmod(usable - sum(tags), rules.key_bytes)
    tags = [count + rest // 2 for count in tags]
    room = [max(0, rules.most_keys - stock[owner]) for owner in ROLES]
    # Whoever has fewer gets more, so that both ends can hand out whatever the applications' habits are.
    alices = min(room[0], max(0, min(keys, (keys + stock["bob"] - stock["alice"]) // 2)))
    bobs = min(room[1], keys - alices)
    free = _next_keys(work, link)
    return Allotment(
        key_bytes=rules.key_bytes,
        alice_keys=Run(free["alice"], alices),
        bob_keys=Run(free["bob"], bobs),
        alice_tags=Run(pools["alice"][1], tags[0]),
        bob_tags=Run(pools["bob"][1], tags[1]),
    )


def _write(
    work: Work,
    contents: Contents,
    link: str,
    name: bytes,
    key: Secret,
    account: BlockAccount,
    allotment: Allotment,
    begun: bytes | None,
    utc: float,
) -> tuple[int, BlockKey]:
    """Write a block as PREPARED and strike off the numbers it was given; return its row's number and key."""
    contents.demand_allowed(account.simulated)
    if begun is not None and not work.row(
        "DELETE FROM block WHERE link = ? AND name = ? AND state = ? RETURNING 1", (link, begun, BEGUN)
    ):
        # Its session has ended while the job waited.
        problem = f"a block of link {link} is to be written that was given up meanwhile; it gives no key"
        raise LocalProtocolError(problem)
    simulated = int(account.simulated)
    cipher, sealed_key = contents.keyring.new_block_key(link, name, simulated)
    whole = cipher.seal(key, Use.WHOLE_BLOCK, 0, link, name, PREPARED)
    (number,) = work.row(
        "INSERT INTO block (link, name, state, made_utc, simulated, account, allotment, block_key, whole) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        (link, name, PREPARED, utc, simulated, account.text(), json.dumps(asdict(allotment)), sealed_key, whole),
    )
    # Numbers are given away with the first write, so that an abandoned block's are never given to another.
    work.row(
        "UPDATE link SET next_alice_key = ?, next_bob_key = ? WHERE link = ?",
        (allotment.alice_keys.stop, allotment.bob_keys.stop, link),
    )
    for sender, run in zip(ROLES, (allotment.alice_tags, allotment.bob_tags), strict=True):
        work.row("UPDATE pool SET next = ? WHERE link = ? AND sender = ?", (run.stop, link, sender))
    return number, cipher


def _write_tags(
    work: Work, cipher: BlockKey, link: str, number: int, sender: Role, allotment: Allotment, whole: memoryview
) -> None:
    """Add what a block brings to one direction's pool."""
    at = CHECK_BYTES + (allotment.alice_keys.count + allotment.bob_keys.count) * allotment.key_bytes
    run = allotment.alice_tags
    if sender == "bob":
        at, run = at + run.count, allotment.bob_tags
    if run.count:
        sealed = cipher.seal(whole[at : at + run.count], TAGS_OF[sender], run.first, link)
        work.row(
            "INSERT INTO pool_part VALUES (?, ?, ?, ?, ?, ?)", (link, sender, run.first, run.count, number, sealed)
        )


def _next_keys(work: Work, link: str) -> dict[Role, int]:
    return dict(
        zip(ROLES, work.row("SELECT next_alice_key, next_bob_key FROM link WHERE link = ?", (link,)), strict=True)
    )


def _pools(work: Work, link: str) -> dict[Role, tuple[int, int]]:
    """Return cursor and first free position of both directions."""
    rows = work.rows("SELECT sender, cursor, next FROM pool WHERE link = ?", (link,))
    return {sender: (cursor, following) for sender, cursor, following in rows}


def _block(work: Work, link: str, name: bytes) -> dict[str, Any]:
    columns = ("number", "state", "simulated", "allotment", "whole")
    row = work.row(
        "SELECT number, state, simulated, allotment, whole FROM block WHERE link = ? AND name = ?", (link, name)
    )
    if row is None:
        problem = f"link {link} has no block {name.hex()}; this is a mistake of qnoded"
        raise LocalProtocolError(problem)
    return dict(zip(columns, row, strict=True))


def _allotment(text: str) -> Allotment:
    table = json.loads(text)
    return Allotment(table.pop("key_bytes"), **{name: Run(**run) for name, run in table.items()})
