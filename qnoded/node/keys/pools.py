"""Key that authenticates what is said on a link: one pool for each direction, used from front to back, never twice.

A position counts the bytes of a pool from the link's enrolment on and never comes again. The sender's cursor is on
disk before it learns the bytes behind it, so whatever was reserved and not sent is lost, not used again. The
receiver's cursor is on disk before the message counts: what comes again after a crash is behind it, and refused. Jobs
for the store's database; ``exchange.authenticating`` makes and checks the tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qnoded.errors import AuthenticationFailed, KeysExhausted
from qnoded.exchange.authenticating import HASH_KEYS_BYTES, TagKeys, TagPlace
from qnoded.node.keys.blocks import TAGS_OF
from qnoded.node.keys.contents import Contents, Role
from qnoded.node.keys.database import Work
from qnoded.secret import Secret

TAGS_PER_HASH_KEY: Final = 1 << 20
"""After so many tags the next session takes new hash keys: the error that imperfect masks add up stays bounded
(docs/amplification.md). At a tag a second it is twelve days."""

DECLARED_LOST: Final = "its operator has declared its ledger lost"
PEER_DIFFERS: Final = "the peer's ledger was not found equal"
"""Over as soon as it shows the same one again."""
WITHHOLDING: Final = (DECLARED_LOST, PEER_DIFFERS)
"""Why a link is halted that hands no keys out either."""


@dataclass(frozen=True, slots=True)
class PoolLevels:
    """Bytes that are left to authenticate with."""

    sending_bytes: int
    receiving_bytes: int
    low: bool
    """True if either is below the alarm level."""
    halted: str | None
    """Why nothing is accepted any more."""


def reserve(work: Work, contents: Contents, link: str, mask_bytes: int, *, opening: bool) -> tuple[TagPlace, TagKeys]:
    """Take the keys of one tag for what this end says; they are struck off when the job's commit is on disk.

    Parameters
    ----------
    mask_bytes
        Length of the tag.
    opening
        True for the first tag of a session: only there are worn hash keys replaced.

    Raises
    ------
    KeysExhausted
        If the pool is empty.
    AuthenticationFailed
        If the link was halted.
    """
    sender = contents.of(link).role
    cursor, hash_first, tags, enrolled = _state(work, link, sender)
    # Masks of distilled key deserve hash keys of the same: those of the first secret, maybe a handshake's, go with it.
    worn = hash_first is not None and (tags >= TAGS_PER_HASH_KEY or hash_first < enrolled <= cursor)
    if hash_first is None or (opening and worn):
        hash_first = _following(work, link, sender, cursor, HASH_KEYS_BYTES)
        cursor, tags = hash_first + HASH_KEYS_BYTES, 0
    mask_first = _following(work, link, sender, cursor, mask_bytes)
    place = TagPlace(hash_first, mask_first, mask_bytes)
    keys = _keys(work, contents, link, sender, place)
    _advance(work, link, sender, place, tags + 1)
    return place, keys


def look_up(work: Work, contents: Contents, link: str, place: TagPlace) -> TagKeys:
    """Return the keys of a tag that the peer says it made; nothing is struck off before the tag was found right.

    Raises
    ------
    AuthenticationFailed
        If the place is behind what was accepted before, a replay, or the link was halted.
    KeysExhausted
        If there is nothing at that place.
    """
    sender = contents.of(link).peer
    cursor, hash_first, *_ = _state(work, link, sender)
    in_order = place.mask_first >= cursor and (place.hash_first == hash_first or place.hash_first >= cursor)
    apart = abs(place.mask_first - place.hash_first) >= (
        HASH_KEYS_BYTES if place.mask_first > place.hash_first else place.mask_bytes
    )
    if not in_order or not apart:
        problem = (
            f"a tag of {sender} names key at {place.mask_first} and {place.hash_first}, all before {cursor} was used: "
            "a message came again, or was made up"
        )
        raise AuthenticationFailed(problem)
    return _keys(work, contents, link, sender, place)


def accept(work: Work, contents: Contents, link: str, place: TagPlace) -> None:
    """Strike off the keys of a tag that was right; what it covers counts once this is on disk.

    Raises
    ------
    AuthenticationFailed
        If it was struck off in the meantime.
    """
    sender = contents.of(link).peer
    look_up(work, contents, link, place).wipe()
    _advance(work, link, sender, place, 0)


def halt(work: Work, contents: Contents, link: str, reason: str) -> None:
    """Accept and say nothing more on a link until it is enrolled anew: a further attempt is a further guess."""
    contents.of(link)
    # What a session merely found must not hide this: it ends with the next session that finds otherwise.
    work.row("UPDATE pool SET halted = coalesce(nullif(halted, ?), ?) WHERE link = ?", (PEER_DIFFERS, reason, link))


def levels(work: Work, contents: Contents, link: str) -> PoolLevels:
    """Return what is left."""
    known = contents.of(link)
    rows = work.rows(
        "SELECT sender, sum(first + count - max(first, cursor)) FROM pool_part JOIN pool USING (link, sender) "
        "WHERE link = ? AND first + count > cursor GROUP BY sender",
        (link,),
    )
    left: dict[str, int] = {"alice": 0, "bob": 0} | dict(rows)
    (halted,) = work.row("SELECT max(halted) FROM pool WHERE link = ?", (link,))
    low = min(left.values()) < contents.rules.low_pool_bytes
    return PoolLevels(left[known.role], left[known.peer], low, halted)


def _state(work: Work, link: str, sender: Role) -> tuple[int, int | None, int, int]:
    """Return cursor, place of the hash keys, tags made with them, and bytes of the first secret."""
    cursor, hash_first, tags, enrolled, halted = work.row(
        "SELECT cursor, hash_first, tags, enrolled, halted FROM pool WHERE link = ? AND sender = ?", (link, sender)
    )
    if halted is not None:
        problem = f"link {link} is halted: {halted}; find out who did it, then enrol the link anew (docs/keys.md)"
        raise AuthenticationFailed(problem)
    return cursor, hash_first, tags, enrolled


def _following(work: Work, link: str, sender: Role, cursor: int, count: int) -> int:
    """Return the first position from the cursor on after which so many bytes follow without a gap."""
    start = stop = -1
    for first, length in work.rows(
        "SELECT first, count FROM pool_part WHERE link = ? AND sender = ? AND first + count > ? ORDER BY first",
        (link, sender, cursor),
    ):
        if first != stop:
            start = max(first, cursor)
        stop = first + length
        if stop - start >= count:
            return start
    problem = (
        f"no {count} bytes are left to authenticate what {sender} says on link {link}; the link pauses: enrol it "
        "anew with a new first secret (docs/keys.md)"
    )
    raise KeysExhausted(problem)


def _keys(work: Work, contents: Contents, link: str, sender: Role, place: TagPlace) -> TagKeys:
    return TagKeys(
        _read(work, contents, link, sender, place.hash_first, HASH_KEYS_BYTES),
        _read(work, contents, link, sender, place.mask_first, place.mask_bytes),
    )


def _read(work: Work, contents: Contents, link: str, sender: Role, first: int, count: int) -> Secret:
    """Return bytes of a pool, wherever its parts meet."""
    content = bytearray()
    for start, length, block, sealed in work.rows(
        "SELECT first, count, block, sealed FROM pool_part WHERE link = ? AND sender = ? AND first < ? "
        "AND first + count > ? ORDER BY first",
        (link, sender, first + count, first),
    ):
        if start <= first + len(content):
            with contents.block_key(work, block).open(sealed, TAGS_OF[sender], start, link) as part:
                content += part.view()[first + len(content) - start : min(length, first + count - start)]
    if len(content) < count:
        problem = f"no key at {first} to check what {sender} says on link {link}; both stores must be of one link"
        raise KeysExhausted(problem)
    secret = Secret(content)
    content[:] = bytes(count)
    return secret


def _advance(work: Work, link: str, sender: Role, place: TagPlace, tags: int) -> None:
    """Move the cursor behind what a tag used, and erase the parts that nothing needs any more."""
    hash_stop = place.hash_first + HASH_KEYS_BYTES
    cursor = max(place.mask_first + place.mask_bytes, hash_stop)
    work.row(
        "UPDATE pool SET cursor = ?, hash_first = ?, tags = ? WHERE link = ? AND sender = ?",
        (cursor, place.hash_first, tags, link, sender),
    )
    work.row(
        "DELETE FROM pool_part WHERE link = ? AND sender = ? AND first + count <= ? "
        "AND NOT (first < ? AND first + count > ?)",
        (link, sender, cursor, hash_stop, place.hash_first),
    )
