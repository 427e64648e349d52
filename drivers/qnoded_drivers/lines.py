"""Instruments that answer in lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from qnoded.errors import InstrumentGarbled

LONGEST_LINE: Final = 512


class LineDecoder:
    """Cuts bytes into lines of text; empty ones are left out."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        """Make one that takes no line for an answer that is longer, bytes."""
        self._longest = longest
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that are complete now.

        Raises
        ------
        InstrumentGarbled
            If they are no text.
        """
        self._waiting += data
        while b"\n" in self._waiting:
            line, _, self._waiting = self._waiting.partition(b"\n")
            text = line.decode("latin-1").strip()
            if not text.isascii() or not text.isprintable():
                problem = f"{line!r} is no line of text"
                raise InstrumentGarbled(problem)
            if text:
                yield text
        if len(self._waiting) > self._longest:
            problem = f"{len(self._waiting)} bytes without an end of line are no answer"
            raise InstrumentGarbled(problem)
