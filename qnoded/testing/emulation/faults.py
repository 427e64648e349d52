"""What can go wrong between an instrument and its driver, on order: which message, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qnoded.errors import UsageError

LATE_S: Final = 0.9
"""Longer than drivers wait for an answer, shorter than their calls may take."""
PIECE_S: Final = 0.002
"""Between the pieces of a split message."""


class FaultKind(StrEnum):
    """Faults of messages, then of the instrument."""

    LOST = "lost"
    """The message is not sent."""
    DOUBLED = "doubled"
    CORRUPTED = "corrupted"
    """One bit of one byte is wrong, so a checksum is too."""
    SHORTENED = "shortened"
    """One byte is missing."""
    STRAY = "stray"
    """A zero byte comes first."""
    SPLIT = "split"
    """It comes byte by byte."""
    MERGED = "merged"
    """It waits for the next one, or for a moment."""
    LATE = "late"
    PREVIOUS = "previous"
    """The message before it comes instead."""
    BUSY = "busy"
    """From here on the instrument is busy, once."""
    VANISHED = "vanished"
    """The connection ends, and the port is away for a while."""
    POWER_CYCLE = "power-cycle"
    """The instrument starts anew; the connection stays, as with an adapter of its own supply."""
    HUNG = "hung"
    """The instrument hears and says nothing until it is switched off and on."""
    OTHER_SERIAL = "other-serial"
    """The connection ends, and another unit of the same model answers the next."""
    WRONG_CHECKSUM = "wrong-checksum"
    """The message is whole but for its checksum. From here on: only instruments that have such a thing."""
    CLIPPED = "clipped"
    """Somebody lowers the instrument's own limit, which makes less of what it gives."""
    INTERLOCK_OPEN = "interlock-open"
    OVER_TEMPERATURE = "over-temperature"
    FIFO_OVERFLOW = "fifo-overflow"
    """Its buffer was too small, and it has lost something."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, once."""

    kind: FaultKind
    message: int
    """Which of the instrument's messages it befalls, from 0, counted since the script began."""
    place: float = 0.5
    """Where in the message a byte is spoilt, as a share of its length."""

    def __str__(self) -> str:
        return f"{self.kind}@{self.message}"


def read_fault(text: str) -> Fault:
    """Read a fault, written ``late@3``.

    Raises
    ------
    UsageError
        If it is none.
    """
    kind, _, message = text.partition("@")
    if kind in set(FaultKind) and message.isascii() and message.isdigit():
        return Fault(FaultKind(kind), int(message))
    problem = f"fault {text!r} is unknown; write KIND@MESSAGE, such as late@3, with one of {', '.join(FaultKind)}"
    raise UsageError(problem)


def spoilt(message: bytes, previous: bytes, faults: Sequence[Fault]) -> list[tuple[float, bytes]]:
    """Return what is sent instead of a message: pieces, each with seconds to wait after the one before."""
    pieces = [(0.0, message)]
    for fault in faults:
        at = min(int(fault.place * len(message)), len(message) - 1)
        match fault.kind:
            case FaultKind.LOST:
                pieces = []
            case FaultKind.DOUBLED:
                pieces = [(0.0, message), (0.0, message)]
            case FaultKind.CORRUPTED:
                wrong = bytes([message[at] ^ (1 << (fault.message + at) % 8)])
                pieces = [(0.0, message[:at] + wrong + message[at + 1 :])]
            case FaultKind.SHORTENED:
                pieces = [(0.0, message[:at] + message[at + 1 :])]
            case FaultKind.STRAY:
                pieces = [(0.0, b"\x00" + message)]
            case FaultKind.SPLIT:
                pieces = [(PIECE_S, message[place : place + 1]) for place in range(len(message))]
            case FaultKind.LATE:
                pieces = [(LATE_S, message)]
            case FaultKind.PREVIOUS:
                pieces = [(0.0, previous)]
            case _:
                # Faults of the instrument spoil no message.
                pass
    return pieces
