"""Elliptec's bus: short texts, to and from modules with an address of one hexadecimal digit each.

Source: Thorlabs, "ELLx modules protocol manual", issue 5. Orders end by being complete, answers with CR LF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from qnoded.errors import InstrumentGarbled

ANSWER: Final = re.compile(rb"([0-9A-F])([A-Z][A-Z0-9])([0-9A-F]*)")
LONGEST_ANSWER: Final = 64
INFO_DIGITS: Final = 30
POSITION_DIGITS: Final = 8


class Status(IntEnum):
    """What a module says of itself."""

    OK = 0
    COMMUNICATION_TIMEOUT = 1
    MECHANICAL_TIMEOUT = 2
    COMMAND_ERROR = 3
    OUT_OF_RANGE = 4
    ISOLATED = 5
    OUT_OF_ISOLATION = 6
    INITIALISING = 7
    THERMAL_ERROR = 8
    BUSY = 9
    SENSOR_ERROR = 10
    MOTOR_ERROR = 11
    RANGE_ERROR = 12
    OVER_CURRENT = 13


@dataclass(frozen=True, slots=True)
class Answer:
    """One line from a module."""

    address: str
    code: str
    digits: str

    def __str__(self) -> str:
        return f"{self.address}{self.code}{self.digits}"


@dataclass(frozen=True, slots=True)
class Info:
    """Who a module is."""

    type: int
    """The number in its name."""
    serial: str
    firmware: str
    pulses_per_turn: int
    """Differs between generations of the same model."""


class AnswerDecoder:
    """Cuts bytes into answers."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[Answer]:
        """Yield the answers that are complete now.

        Raises
        ------
        InstrumentGarbled
            If a line is no answer.
        """
        self._waiting += data
        while b"\r\n" in self._waiting:
            line, _, self._waiting = self._waiting.partition(b"\r\n")
            found = ANSWER.fullmatch(line)
            if found is None:
                problem = f"{line!r} is no answer of an Elliptec module"
                raise InstrumentGarbled(problem)
            yield Answer(*(part.decode() for part in found.groups()))
        if len(self._waiting) > LONGEST_ANSWER:
            problem = f"{len(self._waiting)} bytes without an end of line are no answer of an Elliptec module"
            raise InstrumentGarbled(problem)


def order(address: str, code: str, digits: str = "") -> bytes:
    """Return an order; its code has lower-case letters."""
    return f"{address}{code}{digits}".encode()


def move(address: str, position: int) -> bytes:
    """Return the order to go to a position, pulses."""
    return order(address, "ma", signed_digits(position))


def move_by(address: str, way: int) -> bytes:
    """Return the order to go by a way, pulses."""
    return order(address, "mr", signed_digits(way))


def signed_digits(number: int) -> str:
    """Return a number as eight digits, negative ones in two's complement."""
    return f"{number & 0xFFFFFFFF:08X}"


def signed(digits: str) -> int:
    """Return the number of eight digits."""
    number = int(digits, 16)
    return number - (1 << 32) if number >> 31 else number


def info_of(answer: Answer, address: str) -> Info | None:
    """Return who this module is, if the answer tells."""
    digits = answer.digits
    if (answer.address, answer.code, len(digits)) != (address, "IN", INFO_DIGITS):
        return None
    return Info(int(digits[0:2], 16), digits[2:10], f"{int(digits[14:16], 16) / 10:.1f}", int(digits[22:30], 16))


def status_of(answer: Answer, address: str) -> Status | None:
    """Return what this module says of itself, if the answer tells.

    Raises
    ------
    InstrumentGarbled
        If it says what no module says.
    """
    if (answer.address, answer.code) != (address, "GS"):
        return None
    try:
        return Status(int(answer.digits, 16))
    except ValueError:
        problem = f"{answer} names no status of an Elliptec module"
        raise InstrumentGarbled(problem) from None


def position_of(answer: Answer, address: str) -> int | None:
    """Return where this module is, pulses, if the answer tells."""
    if (answer.address, answer.code, len(answer.digits)) != (address, "PO", POSITION_DIGITS):
        return None
    return signed(answer.digits)
