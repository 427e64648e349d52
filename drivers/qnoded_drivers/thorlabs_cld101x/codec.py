"""What Thorlabs' laser diode controllers answer to SCPI questions.

Sources: Thorlabs' programmer's references of the series 4000 and of the CLD1010LP, and several open drivers that agree
on what is used here. Quantities are in A and degrees Celsius. A command that is refused is accepted silently, and shows
only in the error queue.
"""

from __future__ import annotations

import re
from typing import Final

from qnoded.errors import InstrumentGarbled

OFF: Final = b"OUTP1:STAT 0\n"
"""Switches the diode off from any state, and leaves its temperature alone; it may be sent again and again."""
SAFE_ORDER: Final = b"\n" + OFF + b"*IDN?\nOUTP1:STAT?\n"
"""The same after half a command, and asks whether it is off; its name tells the answer from those to others."""
DARK: Final = rb"(?:[^,\n]+,){3}[^,\n]+\r?\n0\r?\n"
"""Found in what it says after ``SAFE_ORDER`` once the diode is off."""
NUMBER: Final = re.compile(r"[+-]?\d{1,12}(?:\.\d{0,12})?(?:[eE][+-]?\d{1,3})?")
ERROR: Final = re.compile(r'([+-]?\d{1,5}),"([^"]*)"')
PARTS: Final = ("maker", "model", "serial number", "firmware")
"""Of what ``*IDN?`` is answered with."""


def number_of(line: str, question: str) -> float:
    """Return the number of an answer; ``InstrumentGarbled`` if it is none."""
    if NUMBER.fullmatch(line):
        return float(line)
    problem = f"{question} was answered with {line!r}, which is no number"
    raise InstrumentGarbled(problem)


def switch_of(line: str, question: str) -> bool:
    """Return whether an answer says on; ``InstrumentGarbled`` if it is neither 0 nor 1."""
    if line in ("0", "1"):
        return line == "1"
    problem = f"{question} was answered with {line!r}, which is neither 0 nor 1"
    raise InstrumentGarbled(problem)


def error_of(line: str) -> str | None:
    """Return what the error queue holds, None if it is empty; ``InstrumentGarbled`` if the line is no entry of it."""
    found = ERROR.fullmatch(line)
    if found is None:
        problem = f"SYST:ERR? was answered with {line!r}, which is no error"
        raise InstrumentGarbled(problem)
    return None if int(found[1]) == 0 else f"error {found[1]}: {found[2]}"


def parts_of(name: str) -> tuple[str, str, str, str]:
    """Return maker, model, serial number and firmware; ``InstrumentGarbled`` if they are not there."""
    parts = [part.strip() for part in name.split(",")]
    if len(parts) != len(PARTS) or not all(parts):
        problem = f"*IDN? was answered with {name!r}, expected are {', '.join(PARTS)}; is this a CLD101x or ITC4000?"
        raise InstrumentGarbled(problem)
    return parts[0], parts[1], parts[2], parts[3]
