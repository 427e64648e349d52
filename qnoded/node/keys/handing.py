"""Keys handed out: to a master by number, to a slave by name; each once at either end.

A key's row is deleted in the transaction that hands it out, together with the note of who got it, and the caller
learns the key only when that is on disk. After a crash a key may be lost, never delivered twice. Jobs for the store's
database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from qnoded.errors import KeyNotForCaller, KeyNotFound, KeysExhausted
from qnoded.node.keys.blocks import KEYS_OF
from qnoded.node.keys.combining import combined
from qnoded.node.keys.contents import Contents, LinkKeys, Role
from qnoded.node.keys.database import Work
from qnoded.node.keys.key_ids import KeyName, Mode
from qnoded.node.keys.sealing import Use
from qnoded.secret import Secret

SEAL_BYTES: Final = 16
"""What AES-GCM adds to a key."""
ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Pair:
    """Two applications, at the two ends of a link."""

    link: str
    master: str
    slave: str


@dataclass(frozen=True, slots=True)
class HandedKey:
    """One key for one application."""

    name: UUID
    key: Secret
    mode: Mode
    simulated: bool


@dataclass(frozen=True, slots=True)
class _Stored:
    serial: int
    block: int
    simulated: bool
    sealed: bytes


def take(
    work: Work, contents: Contents, pair: Pair, number: int, key_bytes: int, mode: Mode, kept: int, utc: float
) -> list[HandedKey]:
    """Hand new keys to a master at this end.

    Parameters
    ----------
    pair
        Who asks, and whom it will talk to.
    number, key_bytes
        How many keys of which length.
    mode
        What they are made of.
    kept
        Stored keys that must remain, since they are reserved for other masters.
    utc
        Now.

    Raises
    ------
    KeysExhausted
        If there are not enough.
    KeysWithheld
        If nobody knows that the peer still has them.
    """
    known = contents.of(pair.link)
    known.demand_shared()
    agreement, agreed = (0, None) if mode is Mode.QKD else agreed_secret(work, contents, known)
    handed = []
    if mode is Mode.PQC:
        (issued,) = work.row("UPDATE link SET issued = issued + ? WHERE link = ? RETURNING issued", (number, pair.link))
        runs: list[list[_Stored]] = [[] for _ in range(number)]
        serials = list(range(issued - number, issued))
    else:
        runs = _oldest(work, contents, pair.link, known.role, number, key_bytes, kept, utc)
        serials = [run[0].serial for run in runs]
        _delete(work, contents, pair.link, known.role, runs)
    for serial, run in zip(serials, runs, strict=True):
        name = KeyName(mode, serial, agreement, key_bytes)
        uuid = name.issue(known.ticket, known.role, pair.master, pair.slave)
        handed.append(_made(work, contents, pair, known.role, uuid, name, run, agreed))
    _note(work, pair, "master", mode, serials[0], number, key_bytes, utc)
    if agreed is not None:
        work.after(lambda: known.count_agreed(number))
    return handed


def fetch(
    work: Work, contents: Contents, pair: Pair, names: Sequence[UUID], modes: Sequence[Mode], utc: float
) -> list[HandedKey]:
    """Hand a slave at this end the keys that its master got: all of them, or none.

    Parameters
    ----------
    pair
        Who has the keys, and who asks.
    names
        As the master was told.
    modes
        What this slave's keys may be made of.
    utc
        Now.

    Raises
    ------
    KeyNotFound
        If one was never made for this master, was handed out here before, or has expired.
    KeyNotForCaller
        If one was made for another slave, or is of a mode that is not for this one.
    KeysWithheld
        If nobody knows that the peer still has them.
    """
    known = contents.of(pair.link)
    known.demand_shared()
    owner = known.peer
    handed = []
    for uuid in names:
        name = KeyName.read(uuid, known.ticket, known.agreements, owner, pair.master, pair.slave)
        if name.mode not in modes:
            problem = f"key {uuid} is of mode {name.mode.name.lower()}, which {pair.slave} does not take"
            raise KeyNotForCaller(problem)
        agreed = None
        if name.mode is not Mode.QKD:
            _, agreed = agreed_secret(work, contents, known, name.agreement)
        run: list[_Stored] = []
        if name.mode is Mode.PQC:
            place = (pair.link, name.agreement, name.serial)
            if work.row("SELECT 1 FROM fetched WHERE (link, agreed, serial) = (?, ?, ?)", place):
                raise _not_found(uuid)
            work.row("INSERT INTO fetched VALUES (?, ?, ?)", place)
        else:
            run = _from(work, contents, pair.link, owner, name, uuid, utc)
            _delete(work, contents, pair.link, owner, [run])
        handed.append(_made(work, contents, pair, owner, uuid, name, run, agreed))
        _note(work, pair, "slave", name.mode, name.serial, 1, name.key_bytes, utc)
        if agreed is not None:
            work.after(lambda: known.count_agreed(1))
    return handed


def _oldest(
    work: Work, contents: Contents, link: str, owner: Role, number: int, key_bytes: int, kept: int, utc: float
) -> list[list[_Stored]]:
    """Return the oldest runs of consecutive stored keys that are long enough; a gap in the numbers ends a run."""
    runs: list[list[_Stored]] = []
    run: list[_Stored] = []
    after, left = -1, 0
    rows: list[Any] = []
    while len(runs) < number:
        rows = work.rows(
            "SELECT serial, block, simulated, sealed FROM stored WHERE link = ? AND owner = ? AND serial > ? "
            "AND simulated <= ? AND expires_utc > ? ORDER BY serial LIMIT ?",
            (link, owner, after, contents.rules.simulation, utc, min(number - len(runs), ROWS_AT_ONCE)),
        )
        if not rows:
            break
        for row in rows:
            one = _Stored(*row)
            if run and one.serial != run[-1].serial + 1:
                run = []
            run.append(one)
            if _bytes(run) >= key_bytes:
                runs.append(run)
                run = []
        after = rows[-1][0]
    if kept and len(runs) == number:
        left = work.row(
            "SELECT count(*) FROM (SELECT 1 FROM stored WHERE link = ? AND owner = ? AND serial > ? LIMIT ?)",
            (link, owner, after, kept),
        )[0]
    if len(runs) < number or left < kept:
        reserved = f", {kept} of them reserved for others" if kept else ""
        problem = (
            f"link {link} has no {number} keys of {8 * key_bytes} bits to hand out (stock: "
            f"{contents.of(link).stock[owner]} stored keys{reserved}); ask for fewer, or wait for the next blocks"
        )
        raise KeysExhausted(problem)
    return runs


def _from(
    work: Work, contents: Contents, link: str, owner: Role, name: KeyName, uuid: UUID, utc: float
) -> list[_Stored]:
    """Return the stored keys that a name stands for."""
    run: list[_Stored] = []
    while _bytes(run) < name.key_bytes:
        row = work.row(
            "SELECT serial, block, simulated, sealed FROM stored WHERE link = ? AND owner = ? AND serial = ? "
            "AND simulated <= ? AND expires_utc > ?",
            (link, owner, name.serial + len(run), contents.rules.simulation, utc),
        )
        if row is None:
            raise _not_found(uuid)
        run.append(_Stored(*row))
    return run


def _bytes(run: list[_Stored]) -> int:
    return sum(len(one.sealed) - SEAL_BYTES for one in run)


def _delete(work: Work, contents: Contents, link: str, owner: Role, runs: list[list[_Stored]]) -> None:
    spans = [(link, owner, run[0].serial, run[-1].serial) for run in runs]
    work.many("DELETE FROM stored WHERE link = ? AND owner = ? AND serial BETWEEN ? AND ?", spans)
    work.after(contents.counting(link, owner, -sum(map(len, runs))))


def _made(
    work: Work,
    contents: Contents,
    pair: Pair,
    owner: Role,
    uuid: UUID,
    name: KeyName,
    run: list[_Stored],
    agreed: Secret | None,
) -> HandedKey:
    """Open the stored keys and make the delivered one of them."""
    parts = [
        contents.block_key(work, one.block).open(one.sealed, KEYS_OF[owner], one.serial, pair.link, int(one.simulated))
        for one in run
    ]
    simulated = any(one.simulated for one in run)
    distilled = None
    if parts:
        distilled = parts[0]
        if len(parts) > 1 or len(distilled) > name.key_bytes:
            joined = bytearray().join(part.view() for part in parts)
            distilled = Secret(memoryview(joined)[: name.key_bytes])
            joined[:] = bytes(len(joined))
            for part in parts:
                part.wipe()
    if agreed is None:
        assert distilled is not None
        return HandedKey(uuid, distilled, name.mode, simulated)
    key = combined(name.mode, distilled, agreed, uuid, name.key_bytes, pair.link, pair.master, pair.slave)
    if distilled is not None:
        distilled.wipe()
    return HandedKey(uuid, key, name.mode, simulated)


def agreed_secret(work: Work, contents: Contents, known: LinkKeys, number: int | None = None) -> tuple[int, Secret]:
    """Return an agreement's number and secret; unless one is named the newest that the peer has too."""
    if number is None:
        shared = [one for one in known.agreements if one <= known.shared]
        if not shared:
            problem = (
                f"link {known.link} has no post-quantum agreement yet; ask for mode qkd, or wait until the link is up "
                "(both nodes must pin each other's identity: docs/keys.md)"
            )
            raise KeysExhausted(problem)
        number = max(shared)
    block, sealed = known.agreements[number]
    return number, contents.block_key(work, block).open(sealed, Use.AGREED, number, known.link)


def _note(
    work: Work, pair: Pair, side: str, mode: Mode, first_serial: int, keys: int, key_bytes: int, utc: float
) -> None:
    work.row(
        "INSERT INTO handed (utc, link, master, slave, side, mode, first_serial, keys, key_bytes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (utc, pair.link, pair.master, pair.slave, side, mode.name.lower(), first_serial, keys, key_bytes),
    )


def _not_found(uuid: UUID) -> KeyNotFound:
    return KeyNotFound(f"there is no key {uuid}: it was never made for this pair, handed out before, or expired")
