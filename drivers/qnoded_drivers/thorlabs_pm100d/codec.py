"""What Thorlabs' power meters answer to SCPI questions.

Source: Thorlabs' operation manuals of the PM100D and PM400. A misspelt or refused command is accepted silently, and
shows only in the error queue.
"""

from __future__ import annotations

import re
from typing import Final

from qnoded.errors import InstrumentGarbled

NUMBER: Final = re.compile(r"[+-]?\d{1,12}(?:\.\d{0,12})?(?:[eE][+-]?\d{1,3})?")
ERROR: Final = re.compile(r'([+-]?\d{1,5}),"([^"]*)"')
OVER_RANGE_W: Final = 1e30
"""More than this stands for an overload; 9.9e37 is what is sent."""


def number_of(line: str, question: str) -> float:
    """Return the number of an answer.

    Raises
    ------
    InstrumentGarbled
        If it is none.
    """
    if NUMBER.fullmatch(line):
        return float(line)
    problem = f"{question} was answered with {line!r}, which is no number"
    raise InstrumentGarbled(problem)


def error_of(line: str) -> str | None:
    """Return what the error queue holds; None if it is empty.

    Raises
    ------
    InstrumentGarbled
        If the line is no entry of it.
    """
    found = ERROR.fullmatch(line)
    if found is None:
        problem = f"SYST:ERR? was answered with {line!r}, which is no error"
        raise InstrumentGarbled(problem)
    return None if int(found[1]) == 0 else f"error {found[1]}: {found[2]}"
