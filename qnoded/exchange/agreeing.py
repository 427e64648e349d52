"""How a session begins where keys are made, and how its ends agree on fresh secrets while it lasts.

Both ends first show which ledger of authentication key they have, by a name that only its ticket gives, and how it
stands; both come to the same conclusion:

    equal names, none LOST             the session goes on
    neither end KEPT                   a signed exchange makes one
    one end KEPT, or both, and other   the operator of each such end declares its ledger lost

A ledger from a signed exchange is ``FRESH`` until a seal of the peer was found right under it. So an exchange that was
cut after bob had written and before alice had is simply made again. One from a secret file is never ``FRESH``: nothing
but its operator's word puts computational secrecy in its place.

Nor does a session go on where an end has heard more than the other says it ever sent: a copy of a key store was put
back, and would use its key for authentication a second time.

Thereafter alice renews the agreement that hybrid keys are made with. Its numbers go up and are never used for two
secrets: bob writes each number once, and alice takes one that is above all that either end has shown. What is shown is
under no seal, so a number that is far ahead ends the session, and bob believes that alice has an agreement only if she
shows what nobody makes without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, Protocol

from qnoded.errors import LedgersDiffer
from qnoded.exchange import bootstrapping
from qnoded.exchange.bootstrapping import FIRST_SECRET, LARGEST_NUMBER, Hello, Occasion, Randomness, Signers
from qnoded.exchange.effects import Script, compute, demand, receive, send
from qnoded.exchange.limits import Between, Exactly
from qnoded.exchange.messages import Message
from qnoded.records import SIDES
from qnoded.secret import Secret

NAME_BYTES: Final = 16
NO_NAME: Final = bytes(NAME_BYTES)
NO_AGREEMENT: Final = 0
PROOF_BYTES: Final = 16
NO_PROOF: Final = bytes(PROOF_BYTES)
MOST_LEAD: Final = 200
"""Agreements that an end may be ahead: each one that failed at alice's disk after it was written at bob's is one. Fewer
than the numbers that names of keys tell apart."""


class LedgerState(Enum):
    """How an end's ledger stands; the value is for people."""

    NONE = "no ledger"
    LOST = "a ledger that its operator has declared lost"
    FRESH = "a ledger of a signed exchange under which nothing was heard yet"
    KEPT = "a ledger in use"


OPEN: Final = frozenset({LedgerState.NONE, LedgerState.LOST, LedgerState.FRESH})
"""A signed exchange may take its place."""


@dataclass(frozen=True, slots=True)
class LedgerShown(Message):
    """Both ways, the first message about keys of a session."""

    name: Annotated[bytes, Exactly(NAME_BYTES)]
    """Equal at both ends if they have one ledger; ``NO_NAME`` without one."""
    state: LedgerState
    agreement: Annotated[int, Between(NO_AGREEMENT, LARGEST_NUMBER)]
    """Number of the newest agreement."""
    proof: Annotated[bytes, Exactly(PROOF_BYTES)]
    """Made with it, for this end's role; ``NO_PROOF`` without one."""
    sent: Annotated[int, Between(0, LARGEST_NUMBER)]
    """Bytes for authentication that were used, or skipped, for what this end said under this ledger."""
    heard: Annotated[int, Between(0, LARGEST_NUMBER)]
    """And for what it heard."""


class Ledger(Protocol):
    """What the conversation needs of the key store of one link; each call is on disk when it returns."""

    def shown(self) -> LedgerShown:
        """Return how the ledger stands."""

    def enrol(self, secret: Secret) -> None:
        """Begin the link, or begin it anew, with a first secret."""

    def keep_agreement(self, number: int, secret: Secret) -> None:
        """Keep an agreement; refuse a number that is not above the last."""

    def share(self, number: int) -> None:
        """Let keys be made with agreements up to this one: the peer has them too."""

    def share_proven(self, theirs: LedgerShown) -> None:
        """Let keys be made with agreements up to the peer's newest, if what it shows was made with the same here."""


def begin(
    side: str, occasion: Occasion, ledger: Ledger, signers: Signers | None, randomness: Randomness
) -> Script[int]:
    """Compare ledgers, and agree on a first secret where neither end has one; return the newest agreement's number.

    Parameters
    ----------
    side : this end
    occasion : the link's beginning
    ledger : its key store
    signers : None where no identities are pinned
    randomness : true random bytes

    Raises
    ------
    LedgersDiffer
        If the ends have not one ledger, and no signed exchange may make one; or if a key store is an older copy.
    AuthenticationFailed
        If whoever answers is not the peer.
    """
    mine = yield from compute(ledger.shown)
    yield from send(mine)
    theirs = yield from receive(LedgerShown)
    if mine.name == theirs.name != NO_NAME and LedgerState.LOST not in (mine.state, theirs.state):
        _demand_no_older_copy(mine, theirs)
        ahead = theirs.agreement - mine.agreement
        demand(ahead <= MOST_LEAD, f"the peer shows {ahead} agreements more than there are here; somebody changed it")
        yield from compute(ledger.share_proven, theirs)
        return max(mine.agreement, theirs.agreement)
    if not (mine.state in OPEN and theirs.state in OPEN):
        where = " and ".join(
            place for place, shown in (("here", mine), ("at the peer", theirs)) if shown.state not in OPEN
        )
        remedy = f"find out why, then declare the one {where} lost: qnodectl enrol"
        if signers is None:
            remedy += "; then one first_secret for both nodes, which an end that has begun with it keeps, and a restart"
        raise LedgersDiffer(mine.state.value, theirs.state.value, remedy)
    if signers is None:
        remedy = "give both nodes one new first_secret and restart them, or pin identities (docs/keys.md, first secret)"
        raise LedgersDiffer(mine.state.value, theirs.state.value, remedy)
    if side == SIDES[0]:
        yield from bootstrapping.alice(occasion, signers, randomness, ledger.enrol)
    else:
        hello = yield from receive(Hello)
        demand(hello.number == FIRST_SECRET, f"alice says hello for agreement {hello.number} before there is a ledger")
        yield from bootstrapping.bob(hello, occasion, signers, randomness, ledger.enrol)
    return NO_AGREEMENT


def _demand_no_older_copy(mine: LedgerShown, theirs: LedgerShown) -> None:
    for where, sent, heard in (("here", mine.sent, theirs.heard), ("at the peer", theirs.sent, mine.heard)):
        if heard > sent:
            remedy = (
                f"the key store {where} is an older copy, or somebody has changed what was said on the line: it sealed "
                f"with {sent} bytes of key, {heard} were heard; if a copy was put back there, its key must not be used "
                "again, so begin the link anew (docs/keys.md); otherwise the next session tells"
            )
            raise LedgersDiffer(mine.state.value, theirs.state.value, remedy)


def renew(occasion: Occasion, ledger: Ledger, signers: Signers, randomness: Randomness) -> Script[None]:
    """Make the occasion's agreement at alice's end; parameters and errors as for ``begin``."""

    def keep(secret: Secret) -> None:
        ledger.keep_agreement(occasion.number, secret)

    yield from bootstrapping.alice(occasion, signers, randomness, keep)
    yield from compute(ledger.share, occasion.number)


def answer(link: str, terms_digest: bytes, ledger: Ledger, signers: Signers, randomness: Randomness) -> Script[int]:
    """Make the agreement that alice asks for next at bob's end; return its number."""
    hello = yield from receive(Hello)
    number = hello.number
    demand(number != FIRST_SECRET, "alice says hello for a first secret where there is a ledger; begin a new session")

    def keep(secret: Secret) -> None:
        ledger.keep_agreement(number, secret)

    yield from bootstrapping.bob(hello, Occasion(link, terms_digest, number), signers, randomness, keep)
    yield from compute(ledger.share, number)
    return number
