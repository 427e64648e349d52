"""The order of a session's messages: each end numbers what it sends, and takes nothing but the next number.

A transport that delivers at most once and in order still loses messages when it reconnects or when a queue is full.
The unit of retry is the session: after a gap it ends with a reason, and a greeting begins the next one.
"""

from __future__ import annotations

from qnoded.errors import RemoteProtocolError
from qnoded.exchange.wire import Header


class Numbering:
    """Counts the messages of one session in both directions, all conversations together."""

    def __init__(self, session: bytes) -> None:
        self.session = session
        self.strays = 0
        """Messages of other sessions that were left out."""
        self._sent = self._received = 0

    def next_number(self) -> int:
        """Return the number of the next message that is sent."""
        number, self._sent = self._sent, self._sent + 1
        return number

    def accepts(self, header: Header) -> bool:
        """Return whether a message belongs to the session and is the one that is due; a stray is counted.

        Raises
        ------
        RemoteProtocolError
            If it is of this session but another one is due: one was lost, doubled or has overtaken.
        """
        if header.session != self.session:
            self.strays += 1
            return False
        if header.number != self._received:
            problem = (
                f"message {header.number} arrived where {self._received} is due; one was "
                f"{'lost' if header.number > self._received else 'repeated'} or they changed places: the session ends"
            )
            raise RemoteProtocolError(problem)
        self._received += 1
        return True
