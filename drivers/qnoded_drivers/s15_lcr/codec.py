"""The text of S-Fifteen's liquid-crystal driver: lines, answered where they are questions and else not at all.

Source: S-Fifteen's own open driver (pyS15). Amplitudes are in volts.
"""

from __future__ import annotations

import re
from typing import Final

from qnoded.errors import InstrumentGarbled

CHANNELS: Final = 4
HIGHEST_V: Final = 10.0
FREQUENCY_HZ: Final = 2000
"""Of the voltage: the one that its maker uses; liquid crystals are damaged by a steady one."""
ASK_NAME: Final = b"*IDN?\r\n"
SWITCH_ON: Final = b"ON\r\n"
HIDE: Final = b"DARK\r\n"
"""Switches its lamp off: single photons are counted beside it."""
SET_FREQUENCY: Final = f"FREQ {FREQUENCY_HZ}\r\n".encode()
MARK: Final = "LCD cell driver"
"""Stands in its name."""
AMPLITUDE: Final = re.compile(r"\d{1,2}(?:\.\d{0,9})?")


def ask_amplitude(channel: int) -> bytes:
    """Return the question for a channel, from 1."""
    return f"AMP? {channel}\r\n".encode()


def set_amplitude(channel: int, amplitude_v: float) -> bytes:
    """Return the order to set a channel, from 1, in steps of a millivolt."""
    return f"AMPLITUDE {channel} {amplitude_v:.3f}\r\n".encode()


def amplitude_of(line: str) -> float | None:
    """Return the amplitude that a line tells, V; None if it is the name.

    Raises
    ------
    InstrumentGarbled
        If it is neither: nonsense, or a complaint about an order.
    """
    if MARK in line:
        return None
    if AMPLITUDE.fullmatch(line) and float(line) <= HIGHEST_V:
        return float(line)
    problem = f"AMP? was answered with {line!r}, which is no amplitude up to {HIGHEST_V:g} V"
    raise InstrumentGarbled(problem)


def name_of(line: str) -> str | None:
    """Return the name that a line tells; None if it is an amplitude.

    Raises
    ------
    InstrumentGarbled
        If it is neither.
    """
    if AMPLITUDE.fullmatch(line):
        return None
    if MARK in line:
        return line
    problem = f"*IDN? was answered with {line!r}; is this a liquid-crystal driver of S-Fifteen?"
    raise InstrumentGarbled(problem)
