"""A recorded instrument: answers as it did, in the order in which it did.

The driver may ask a little more or less often than it did then, since a poll more depends on the clock. So a question
is looked for from where the last one was found onward, then from the beginning; one that was never asked has no answer,
and is noted in ``missed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qnoded.hil.transcript import Exchange, Utterance, exchanges
from qnoded.testing.emulation import Device

FORGETTING_S: Final = 0.5
"""What was heard and is no question by then is noted as missed."""


class RecordedInstrument(Device):
    """Plays a transcript."""

    serial = ""
    """Stands in what was recorded."""

    def __init__(self, transcript: Sequence[Utterance]) -> None:
        connections = exchanges(transcript)
        self._greetings = [one[0].answers for one in connections if not one[0].question] or [()]
        self._exchanges: list[Exchange] = [each for one in connections for each in one if each.question]
        self._connections = 0
        self._next = 0
        self._heard = b""
        self._heard_s = 0.0
        self.missed: list[str] = []
        """Questions without an answer, for people."""

    def switch_on(self, now_s: float) -> None:
        """Begin at the beginning."""
        del now_s
        self._next, self._heard = 0, b""

    def greet(self) -> list[bytes]:
        """Say what it said to a connection; the last greeting serves for all later ones."""
        greeting = self._greetings[min(self._connections, len(self._greetings) - 1)]
        self._connections += 1
        self._heard = b""
        return list(greeting)

    def hear(self, data: bytes, now_s: float) -> list[bytes]:
        """Answer what was asked then as well."""
        self._heard += data
        self._heard_s = now_s
        said: list[bytes] = []
        while (found := self._found()) is not None:
            self._heard = self._heard[len(self._exchanges[found].question) :]
            said.extend(self._exchanges[found].answers)
            self._next = found + 1
        return said

    def tick(self, now_s: float) -> list[bytes]:
        """Give up what is no question."""
        if self._heard and now_s - self._heard_s > FORGETTING_S:
            self.missed.append(repr(self._heard))
            self._heard = b""
        return []

    def _found(self) -> int | None:
        """Return the number of the exchange that begins with what was heard."""
        if not self._heard:
            return None
        order = (*range(self._next, len(self._exchanges)), *range(self._next))
        return next((one for one in order if self._heard.startswith(self._exchanges[one].question)), None)
