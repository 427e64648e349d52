"""How two ends agree on a session: pure functions from what was heard to what is said next.

Each end draws a nonce and greets, at once and every second, until it is settled: it knows the peer's nonce and the peer
has shown that it knows this end's. Nothing that a greeting says changes without a new nonce, so both ends draw the same
conclusions. A greeting with another nonce in a settled session means that the peer has started anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Final

from qnoded.errors import RemoteProtocolError, TermsMismatch
from qnoded.exchange.live_messages import NOBODY, Greeting
from qnoded.exchange.terms import PROTOCOL_VERSION, LinkTerms, compare
from qnoded.exchange.wire import SESSION_BYTES
from qnoded.records import SIDES

PS_PER_NANOSECOND: Final = 1000
CLEARLY_FEWER: Final = 0.8
"""Bob reveals only if he has less than this share of alice's detections: two of nearly equal rates would change places
at every start, and each change costs a search for the clock."""


@dataclass(frozen=True, slots=True)
class Session:
    """What both ends of a link have agreed on; the same at both."""

    identity: bytes
    """16 bytes, stands in the header of every message."""
    nonces: tuple[bytes, bytes]
    """Alice's and bob's."""
    revealer: str
    """``"alice"`` or ``"bob"``: who tells times and bases; the other matches them and keeps the clock."""
    stream_ids: tuple[str, str]
    """Of alice's and of bob's tagger; another one means that its clock has started anew."""
    utc_minus_tag_ns: tuple[int, int]
    detections_hz: tuple[float, float]

    @property
    def matcher(self) -> str:
        """The end that does not reveal."""
        return SIDES[1 - SIDES.index(self.revealer)]

    @property
    def revealed_stream(self) -> str:
        """Identity of the clock that counts the epochs."""
        return self.stream_ids[SIDES.index(self.revealer)]

    @property
    def host_offset_ps(self) -> int:
        """Matcher's reading minus revealer's at the same moment, as the hosts' clocks have it."""
        revealer = SIDES.index(self.revealer)
        return (self.utc_minus_tag_ns[revealer] - self.utc_minus_tag_ns[1 - revealer]) * PS_PER_NANOSECOND


@dataclass(frozen=True, slots=True)
class Introduction:
    """What this end says of itself, fixed with its nonce, and whom it has heard."""

    role: str
    """``"alice"`` or ``"bob"``, from the config."""
    software: str
    terms: LinkTerms
    nonce: bytes
    """16 random bytes, drawn for this introduction."""
    stream_id: str
    utc_minus_tag_ns: int
    detections_hz: float
    heard: bytes = NOBODY
    """The peer's nonce."""

    def greeting(self) -> Greeting:
        """Return what is to be sent."""
        return Greeting(
            PROTOCOL_VERSION,
            self.software,
            self.role,
            self.nonce,
            self.heard,
            self.terms.text(),
            self.terms.digest(),
            self.stream_id,
            self.utc_minus_tag_ns,
            self.detections_hz,
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows from a greeting."""

    introduction: Introduction
    """In place of the one before."""
    session: Session | None
    """Settled, or None as long as the peer has not shown that it has heard this end."""
    answer: bool
    """True if the peer needs this end's greeting now."""


def hear(mine: Introduction, theirs: Greeting) -> Heard:
    """Draw the conclusions from a greeting.

    Parameters
    ----------
    mine : this end's introduction
    theirs : what arrived

    Raises
    ------
    RemoteProtocolError
        If the greeting speaks another version or for the same role, or contradicts itself.
    TermsMismatch
        If the two ends are configured differently; names the first field that differs.
    """
    _check(mine, theirs)
    new = theirs.nonce != mine.heard
    known = replace(mine, heard=theirs.nonce)
    if theirs.seen_nonce != mine.nonce:
        return Heard(known, None, answer=True)
    return Heard(known, _session(known, theirs), answer=new)


def restarted(session: Session, role: str, theirs: Greeting) -> bool:
    """Return whether a greeting that comes in a settled session says that the peer has begun anew.

    Parameters
    ----------
    session : the settled one
    role : this end's
    theirs : what arrived
    """
    return theirs.nonce != session.nonces[1 - SIDES.index(role)]


def _check(mine: Introduction, theirs: Greeting) -> None:
    if theirs.version != PROTOCOL_VERSION:
        problem = (
            f"the peer ({theirs.software}) speaks version {theirs.version} of the protocol, here ({mine.software}) it "
            f"is {PROTOCOL_VERSION}; update one end"
        )
        raise RemoteProtocolError(problem)
    if theirs.role not in SIDES or theirs.role == mine.role:
        problem = (
            f"the peer calls itself {theirs.role!r}, and this end is {mine.role!r}; give the link's ends both roles"
        )
        raise RemoteProtocolError(problem)
    if theirs.nonce in (NOBODY, mine.nonce):
        problem = "a greeting without a nonce of its own arrived; both ends must run one version"
        raise RemoteProtocolError(problem)
    if hashlib.sha256(theirs.terms.encode()).digest() != theirs.terms_digest:
        problem = "the terms of a greeting do not have the hash that it gives; both ends must run one version"
        raise RemoteProtocolError(problem)
    if theirs.terms == mine.terms.text():
        return
    try:
        table = json.loads(theirs.terms)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        problem = "the terms of a greeting are no table in JSON; both ends must run one version"
        raise RemoteProtocolError(problem)
    compare(mine.terms, table)
    # Equal field by field but not in writing, such as 1 and 1.0.
    field = "spelling"
    raise TermsMismatch(field, mine.terms.text(), theirs.terms)


def _session(mine: Introduction, theirs: Greeting) -> Session:
    ends = (mine, theirs) if mine.role == SIDES[0] else (theirs, mine)
    alice, bob = ends
    return Session(
        hashlib.sha256(alice.nonce + bob.nonce).digest()[:SESSION_BYTES],
        (alice.nonce, bob.nonce),
        _revealer(mine.terms, alice.detections_hz, bob.detections_hz),
        (alice.stream_id, bob.stream_id),
        (alice.utc_minus_tag_ns, bob.utc_minus_tag_ns),
        (alice.detections_hz, bob.detections_hz),
    )


def _revealer(terms: LinkTerms, alice_hz: float, bob_hz: float) -> str:
    if terms.revealer != "auto":
        return terms.revealer
    return "bob" if bob_hz < CLEARLY_FEWER * alice_hz else "alice"
