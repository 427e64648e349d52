"""EPC-400's texts: a command and CR LF, then lines that end with ``Done`` or ``Error!``.

Sources: the public drivers of QMI (Delft) and pylablib, which agree in what is used here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qnoded.errors import InstrumentGarbled

CHANNELS: Final = 4
LARGEST_MV: Final = 5000
END: Final = "Done"
REFUSED: Final = "Error!"
ASK_VOLTAGES: Final = b"V?\r\n"
ASK_MODE: Final = b"M?\r\n"
HOLD: Final = b"MDC\r\n"
"""Fixed voltages, no scrambling."""
LONGEST_BLOCK: Final = 400
"""Bytes."""
VOLTAGES: Final = re.compile(r"Voltage.*:" + "".join(rf"\s+CH{channel} ([+-]\d{{1,4}})" for channel in range(1, 5)))
MODE: Final = re.compile(r"(?:.*\W)?(AC|DC)\S*")


class Mode(StrEnum):
    """What the unit does with its voltages."""

    SCRAMBLES = "AC"
    HOLDS = "DC"


@dataclass(frozen=True, slots=True)
class Block:
    """The answer to one command."""

    lines: tuple[str, ...]
    """Without the last one; the first may be the command itself."""
    refused: bool = False


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
                problem = f"{raw!r} is no text of an EPC-400"
                raise InstrumentGarbled(problem)
            if line == END or line.endswith(REFUSED):
                lines, self._lines = tuple(self._lines), []
                yield Block(lines, refused=line != END)
            elif line:
                self._lines.append(line)
        if len(self._waiting) + sum(map(len, self._lines)) > LONGEST_BLOCK:
            problem = f"{LONGEST_BLOCK} bytes without {END!r} are no answer of an EPC-400; check address and speed"
            raise InstrumentGarbled(problem)


def set_voltage(channel: int, voltage_mv: int) -> bytes:
    """Return the command to set a channel, from 1."""
    return f"V{channel},{voltage_mv}\r\n".encode()


def voltages_of(block: Block) -> tuple[int, ...] | None:
    """Return the voltages of all channels, mV, if the block tells."""
    for line in block.lines:
        found = VOLTAGES.fullmatch(line)
        if found is not None:
            return tuple(map(int, found.groups()))
    return None


def mode_of(block: Block) -> Mode | None:
    """Return what the unit does, if the block tells."""
    for line in block.lines:
        found = MODE.fullmatch(line)
        if found is not None:
            return Mode(found[1])
    return None
