"""The text of S-Fifteen's SPDC board: commands that end with a semicolon, answers of one line to questions only.

Source: S-Fifteen's own open driver (pyS15). A command that is accepted says nothing, one that is refused says a line
that nobody asked for. Currents are in mA, temperatures in degrees Celsius.
"""

from __future__ import annotations

import re
from enum import IntFlag
from itertools import combinations
from typing import Final

from qnoded.errors import InstrumentGarbled

NUMBER: Final = re.compile(r"[+-]?\d{1,6}(?:\.\d{0,9})?")
NAME: Final = re.compile(r"(?P<model>.*SPDC.*?)(?:, firmware|,) ?(?P<firmware>svn-?\d+)(?:\. Serial: (?P<serial>\S+))?")
"""Boards of older firmware do not tell a serial number."""
UNNUMBERED: Final = "unnumbered"
MAKER: Final = "S-15 Instruments"


class Status(IntFlag):
    """Bits of ``STATUS?``."""

    HEATER = 1
    """Whether the crystal's temperature is controlled."""
    COOLER = 2
    """Whether the pump diode's temperature is controlled."""
    ON = 4
    """Whether the pump diode is switched on."""
    TEMPERATURE_RAIL = 256
    LASER_RAIL = 512


class Rail(IntFlag):
    """Bits of ``POWER``: what is supplied."""

    TEMPERATURES = 1
    LASER = 2


OFF: Final = b";OFF;LCURRENT 0;"
"""Switches the pump diode off from any state, and leaves temperatures alone; the semicolon before it ends half a
command."""
SAFE_ORDER: Final = OFF + b"STATUS?;LCURRENT?;"
"""The same, and asks whether it is off."""


def _dark() -> bytes:
    """Return the pattern of every status without light, and of no current."""
    others = [bit for bit in Status if bit is not Status.ON]
    dark = sorted({sum(some) for count in range(len(others) + 1) for some in combinations(others, count)})
    return rb"(?:\A|\n)(?:" + "|".join(map(str, dark)).encode() + rb")\r?\n0(?:\.0*)?\r?\n"


DARK: Final = _dark()
"""Found in what it says after ``SAFE_ORDER`` once the pump diode is off."""


def number_of(line: str, question: str) -> float:
    """Return the number of an answer; ``InstrumentGarbled`` if it is none."""
    if NUMBER.fullmatch(line):
        return float(line)
    problem = f"{question} was answered with {line!r}, which is no number"
    raise InstrumentGarbled(problem)


def status_of(line: str) -> Status:
    """Return what ``STATUS?`` was answered with; ``InstrumentGarbled`` if it is no such thing."""
    if line.isascii() and line.isdigit() and int(line) <= sum(Status):
        return Status(int(line))
    problem = f"STATUS? was answered with {line!r}, which is no status"
    raise InstrumentGarbled(problem)


def parts_of(name: str) -> tuple[str, str, str]:
    """Return model, serial number and firmware; ``InstrumentGarbled`` if it is another instrument."""
    found = NAME.fullmatch(name)
    if found is None:
        problem = f"*IDN? was answered with {name!r}; is this an SPDC board?"
        raise InstrumentGarbled(problem)
    return found["model"].removeprefix(MAKER).strip(), found["serial"] or UNNUMBERED, found["firmware"]
