"""What two ends must know of each other's key stores before they rely on them (``exchange.agreeing``).

Jobs for the store's database, and one link's view of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.exchange.agreeing import (
    NAME_BYTES,
    NO_AGREEMENT,
    NO_NAME,
    NO_PROOF,
    PROOF_BYTES,
    LedgerShown,
    LedgerState,
)
from qnoded.node.keys import upkeep
from qnoded.node.keys.contents import Contents, LinkKeys, Role
from qnoded.node.keys.database import Work
from qnoded.node.keys.handing import agreed_secret
from qnoded.node.keys.pools import DECLARED_LOST, PEER_DIFFERS
from qnoded.secret import Secret

SIGNED_EXCHANGE: Final = "signed exchange"
"""Origin of a ledger."""
_LABEL: Final = b"qnoded name of a ledger"
_PROOF_LABEL: Final = b"qnoded agreement held by "


def shown(work: Work, contents: Contents, link: str) -> LedgerShown:
    """Return how a link's ledger stands."""
    known = contents.links.get(link)
    if known is None:
        return LedgerShown(NO_NAME, LedgerState.NONE, NO_AGREEMENT, NO_PROOF, 0, 0)
    name = hmac.digest(known.ticket.view(), _LABEL, "sha256")[:NAME_BYTES]
    (halted,) = work.row("SELECT max(halted) FROM pool WHERE link = ?", (link,))
    cursors = dict(work.rows("SELECT sender, cursor FROM pool WHERE link = ?", (link,)))
    sent, heard = cursors[known.role], cursors[known.peer]
    state = LedgerState.KEPT
    if halted == DECLARED_LOST:
        state = LedgerState.LOST
    elif known.origin == SIGNED_EXCHANGE and not heard:
        state = LedgerState.FRESH
    newest = max(known.agreements, default=NO_AGREEMENT)
    proof = _proof(work, contents, known, newest, known.role) if known.agreements else NO_PROOF
    return LedgerShown(name, state, newest, proof, sent, heard)


def declare_lost(work: Work, contents: Contents, link: str) -> None:
    """Let a new first secret take a ledger's place; until then nothing is said, accepted or handed out under it.

    Raises
    ------
    UsageError
        If there is none.
    """
    if link not in contents.links:
        problem = f"link {link} has no ledger yet; it begins as soon as the peer is there"
        raise UsageError(problem)
    work.row("UPDATE pool SET halted = ? WHERE link = ?", (DECLARED_LOST, link))
    _withhold(work, contents, link, DECLARED_LOST)


def compared(work: Work, contents: Contents, link: str, *, equal: bool) -> None:
    """Hand keys out as long as the peer's ledger was found equal, whatever happens in between."""
    if link not in contents.links:
        return
    if equal:
        work.row("UPDATE pool SET halted = NULL WHERE link = ? AND halted = ?", (link, PEER_DIFFERS))
        if contents.of(link).withheld == PEER_DIFFERS:
            # Not what an operator has declared meanwhile.
            _withhold(work, contents, link, "")
    else:
        work.row("UPDATE pool SET halted = ? WHERE link = ? AND halted IS NULL", (PEER_DIFFERS, link))
        _withhold(work, contents, link, contents.of(link).withheld or PEER_DIFFERS)


def agreement_age(work: Work, contents: Contents, link: str, utc: float) -> float | None:
    """Return the seconds since a link's newest agreement; None without one, or if the clock was set back."""
    del contents
    (made_utc,) = work.row(
        "SELECT max(block.made_utc) FROM agreed JOIN block ON block.number = agreed.block WHERE agreed.link = ?",
        (link,),
    )
    return utc - made_utc if made_utc is not None and made_utc <= utc else None


def share(work: Work, contents: Contents, link: str, number: int) -> None:
    """Let keys be made with agreements up to this number: the peer has them too."""
    work.after(lambda: setattr(contents.of(link), "shared", number))


def share_proven(work: Work, contents: Contents, link: str, theirs: LedgerShown) -> None:
    """Let keys be made with agreements up to the peer's newest, if its proof was made with the same one as here."""
    known = contents.of(link)
    if theirs.agreement in known.agreements:
        due = _proof(work, contents, known, theirs.agreement, known.peer)
        if hmac.compare_digest(due, theirs.proof):
            share(work, contents, link, max(theirs.agreement, known.shared))


def _proof(work: Work, contents: Contents, known: LinkKeys, number: int, role: Role) -> bytes:
    """Return what an end shows to say that it has an agreement; nobody makes it without."""
    _, agreed = agreed_secret(work, contents, known, number)
    with agreed as secret:
        return hmac.digest(secret.view(), _PROOF_LABEL + role.encode(), "sha384")[:PROOF_BYTES]


def _withhold(work: Work, contents: Contents, link: str, why: str) -> None:
    work.after(lambda: setattr(contents.of(link), "withheld", why))


class LinkLedger:
    """One link's ``exchange.agreeing.Ledger``: each call waits until its step is on disk."""

    def __init__(self, submit: Callable[..., Future[Any]], link: str, role: Role, clock: Callable[[], float]) -> None:
        self._submit, self._link, self._role, self._utc = submit, link, role, clock

    def shown(self) -> LedgerShown:
        """Return how the ledger stands."""
        result: LedgerShown = self._submit(shown, self._link).result()
        return result

    def enrol(self, secret: Secret) -> None:
        """Begin the link, or begin it anew, with what a signed exchange gave."""
        self._submit(upkeep.enrol, self._link, self._role, SIGNED_EXCHANGE, secret, self._utc()).result()

    def keep_agreement(self, number: int, secret: Secret) -> None:
        """Keep an agreement; see ``upkeep.keep_agreement``."""
        self._submit(upkeep.keep_agreement, self._link, number, secret, self._utc()).result()

    def share(self, number: int) -> None:
        """Let keys be made with agreements up to this one."""
        self._submit(share, self._link, number).result()

    def share_proven(self, theirs: LedgerShown) -> None:
        """Let keys be made with agreements up to the one that the peer proves to have."""
        self._submit(share_proven, self._link, theirs).result()
