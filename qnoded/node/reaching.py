"""Whether the peer can be reached: when it was heard, what of it could not be read, and when to connect anew."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.lifecycle import Event, State
from qnoded.node.sockets import Wire
from qnoded.node.standing import Standing
from qnoded.node.status import Level

GARBAGE_S: Final = 10.0
"""Between two words about messages that cannot be read: a peer must not fill the log."""
UNHEARD_S: Final = 45.0
"""No peer that greets is silent for so long: one rests for 30 s where the ends share no key, and in MISMATCH one greets
each 10 s."""
RENEWAL_S: Final = 5.0
"""The connecting end makes a new socket when it was not heard for so long: libzmq gives some connections up."""


class Reaching:
    """One link's peer, as far as the network lets it be known.

    Parameters
    ----------
    tell
        Takes events for people: level and text.
    """

    def __init__(self, socket: Wire, standing: Standing, tell: Callable[[Level, str], None]) -> None:
        self._socket, self._standing, self._tell = socket, standing, tell
        self._heard_s: float | None = None
        self._renewed_s = _now_s()
        self._told_of_refusal = 0
        self._garbage_told_s = -math.inf

    @property
    def age_s(self) -> float | None:
        """Since the peer was heard; None: never."""
        return None if self._heard_s is None else _now_s() - self._heard_s

    def heard(self) -> None:
        """Note that the peer has said something."""
        self._heard_s = _now_s()

    def garbled(self, error: RemoteProtocolError, *, alone: bool) -> None:
        """Note that something of the pinned key cannot be read: another version, or a peer that is broken.

        It must not end a good session; ``alone`` says that there is none, so that it is the reason for that.
        """
        if _now_s() >= self._garbage_told_s + GARBAGE_S:
            self._garbage_told_s = _now_s()
            self._tell("error", str(error))
        if alone:
            self._standing.reason = str(error)

    def look(self) -> None:
        """Tell of refused keys and of silence, and connect anew where nothing is heard; for ends without a session."""
        refused = self._socket.refused
        if refused > self._told_of_refusal:
            self._told_of_refusal = refused
            words = self._socket.obstacle or f"{refused} connections refused because of their key"
            self._standing.enter(Event.UNKNOWN_KEY, words)
        elif self._standing.state is State.ABSENT and self._socket.obstacle:
            self._standing.explain(self._socket.obstacle)
        elif self._standing.state in (State.GREETING, State.MISMATCH) and (self.age_s or 0.0) > UNHEARD_S:
            self._standing.happened(Event.PEER_LOST, f"nothing was heard for {UNHEARD_S:g} s")
        if self._socket.connects and _now_s() - max(self._renewed_s, self._heard_s or 0.0) > RENEWAL_S:
            self._renewed_s = _now_s()
            self._socket.renew()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
