"""What two ends must know of each other's key stores before they rely on them (``exchange.agreeing``).

Jobs for the store's database, and one link's view of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from qnoded.errors import UsageError
from qnoded.exchange.agreeing import NAME_BYTES, NO_AGREEMENT, NO_NAME, LedgerShown, LedgerState
from qnoded.node.keys import upkeep
from qnoded.node.keys.contents import Contents, Role
from qnoded.node.keys.database import Work
from qnoded.secret import Secret

SIGNED_EXCHANGE: Final = "signed exchange"
"""Origin of a ledger."""
DECLARED_LOST: Final = "its operator has declared its ledger lost"
"""Why a link is halted."""
_LABEL: Final = b"qnoded name of a ledger"


def shown(work: Work, contents: Contents, link: str) -> LedgerShown:
    """Return how a link's ledger stands."""
    known = contents.links.get(link)
    if known is None:
        return LedgerShown(NO_NAME, LedgerState.NONE, NO_AGREEMENT)
    name = hmac.digest(known.ticket.view(), _LABEL, "sha256")[:NAME_BYTES]
    (halted,) = work.row("SELECT max(halted) FROM pool WHERE link = ?", (link,))
    (heard,) = work.row("SELECT cursor FROM pool WHERE link = ? AND sender = ?", (link, known.peer))
    state = LedgerState.KEPT
    if halted == DECLARED_LOST:
        state = LedgerState.LOST
    elif known.origin == SIGNED_EXCHANGE and not heard:
        state = LedgerState.FRESH
    return LedgerShown(name, state, max(known.agreements, default=NO_AGREEMENT))


def declare_lost(work: Work, contents: Contents, link: str) -> None:
    """Let a signed exchange take a ledger's place; until then nothing is said or accepted under it.

    Raises
    ------
    UsageError
        If there is none.
    """
    if link not in contents.links:
        problem = f"link {link} has no ledger yet; it begins as soon as the peer is there"
        raise UsageError(problem)
    work.row("UPDATE pool SET halted = ? WHERE link = ?", (DECLARED_LOST, link))


def share(work: Work, contents: Contents, link: str, number: int) -> None:
    """Let keys be made with agreements up to this number: the peer has them too."""
    work.after(lambda: setattr(contents.of(link), "shared", number))


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
