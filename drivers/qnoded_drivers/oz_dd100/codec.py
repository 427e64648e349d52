"""The DD-100-MC's texts: a command and CR, then lines that end with ``Done`` or an error.

Sources: two public drivers, of QMI (Delft) and of the HISPEC instrument, whose units differ in how a position is
written; both ways are read. Attenuations are in decibels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qnoded.errors import InstrumentFault, InstrumentGarbled

ASK_CONFIGURATION: Final = b"CD\r"
ASK_POSITION: Final = b"D\r"
HOME: Final = b"H\r"
END: Final = "Done"
ERROR: Final = re.compile(r"Error-(\d)")
ERRORS: Final = {
    "2": "it does not know the command",
    "5": "it does not find its home sensor; it has to go to its maker",
    "6": "the value is too large",
    "7": "the voltage of its motor is out of bounds",
}
MODEL: Final = re.compile(r"DD-?\d{3}-?MC")
SERIAL: Final = re.compile(r"NO:\s*(\S+)")
FIRMWARE: Final = re.compile(r"V\d+\.\S+")
HIGHEST: Final = re.compile(r"MAX ATTEN:\s*(\d{1,2}(?:\.\d{1,3})?)")
LOWEST: Final = re.compile(r"IL:\s*(\d{1,2}(?:\.\d{1,3})?)")
POSITION: Final = re.compile(r"D?Pos:\s*(-?\d{1,6}|unknown)", re.IGNORECASE)
ATTENUATION: Final = re.compile(r"Atten:\s*(?:(\d{1,2}(?:\.\d{1,6})?)(?:\s*\(dB\))?|unknown)", re.IGNORECASE)
DONE: Final = re.compile(r"(?:Pos:\s*-?\d{1,6}|Diff=.{0,20})", re.IGNORECASE)
LONGEST_BLOCK: Final = 1000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a unit says of itself."""

    model: str
    serial: str
    firmware: str
    lowest_db: float
    """Its insertion loss, if it counts that in, else 0."""
    highest_db: float


@dataclass(frozen=True, slots=True)
class Block:
    """The answer to one command, without its last line."""

    lines: tuple[str, ...]
    error: str = ""
    """Number of the error with which it ends; empty if it is done."""


class BlockDecoder:
    """Cuts bytes into blocks."""

    def __init__(self) -> None:
        self._waiting = b""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> Iterator[Block]:
        """Yield the blocks that are complete now.

        Raises
        ------
        InstrumentGarbled
            If there is no text, or no end of it.
        """
        self._waiting += data
        while b"\r\n" in self._waiting:
            raw, _, self._waiting = self._waiting.partition(b"\r\n")
            line = raw.decode("latin-1").strip()
            if not (line.isascii() and line.isprintable()):
                problem = f"{raw!r} is no text of a DD-100-MC"
                raise InstrumentGarbled(problem)
            error = ERROR.fullmatch(line)
            if error is not None or line == END:
                lines, self._lines = tuple(self._lines), []
                yield Block(lines, "" if error is None else error[1])
            elif line:
                self._lines.append(line)
        if len(self._waiting) + sum(map(len, self._lines)) > LONGEST_BLOCK:
            problem = f"{LONGEST_BLOCK} bytes without {END!r} are no answer of a DD-100-MC; check address and speed"
            raise InstrumentGarbled(problem)


def attenuate(attenuation_db: float) -> bytes:
    """Return the order to go to an attenuation, in steps of 0.01 dB."""
    return f"A{attenuation_db:.2f}\r".encode()


def configuration_of(block: Block) -> Configuration | None:
    """Return what the unit says of itself, if the block tells."""
    found = {
        pattern: next((match for line in block.lines if (match := pattern.fullmatch(line))), None)
        for pattern in (MODEL, SERIAL, FIRMWARE, HIGHEST, LOWEST)
    }
    model, serial, firmware, highest, lowest = found.values()
    if model is None or serial is None or highest is None:
        return None
    return Configuration(
        model[0],
        serial[1],
        "" if firmware is None else firmware[0],
        0.0 if lowest is None else float(lowest[1]),
        float(highest[1]),
    )


@dataclass(frozen=True, slots=True)
class Position:
    """Where a unit says that it is."""

    attenuation_db: float | None
    """None until it has been home."""


def position_of(block: Block) -> Position | None:
    """Return where the unit is, if the block tells both its steps and its attenuation."""
    steps = next((match for line in block.lines if (match := POSITION.fullmatch(line))), None)
    shown = next((match for line in block.lines if (match := ATTENUATION.fullmatch(line))), None)
    if steps is None or shown is None:
        return None
    known = shown[1] is not None and steps[1].lower() != "unknown"
    return Position(float(shown[1]) if known else None)


def is_order_done(block: Block) -> bool:
    """Whether the block says that an order to move is done; a position with its attenuation answers a question."""
    return position_of(block) is None and any(DONE.fullmatch(line) for line in block.lines)


def granted(block: Block) -> Block:
    """Return a block that is no error.

    Raises
    ------
    InstrumentFault
        If it is one.
    """
    if block.error:
        problem = (
            f"the attenuator answers Error-{block.error}: {ERRORS.get(block.error, 'its manual tells what it is')}"
        )
        raise InstrumentFault(problem)
    return block
