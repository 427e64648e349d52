"""ITLA-MSA's frames: four bytes each way, a register read or written, with four bits of parity.

Source: Optical Internetworking Forum, "Integrable Tunable Laser Assembly Multi Source Agreement", OIF-ITLA-MSA-01.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from qnoded.errors import InstrumentGarbled

FRAME_BYTES: Final = 4
WRITES: Final = 0x01
"""In the first byte of the host: the register is written."""
AGAIN: Final = 0x08
"""In the first byte of the host: say the last answer again."""
STATUS_MASK: Final = 0x03
"""In the first byte of the laser; some firmware sets bit 2 as well."""
DAMAGED: Final = 0x08
"""In the first byte of the laser: the question arrived damaged."""
SENA: Final = 0x0008
"""In ``OUTPUT``: the laser may emit."""
READY: Final = 0x0010
"""In ``NOP``: it has started up."""
PENDING: Final = 0xFF00
"""In ``NOP``: what it is still busy with, one bit each."""
REFUSAL: Final = 0x000F
"""In ``NOP``: why it refused last."""
PER_DB: Final = 100
"""Powers are in hundredths of dBm."""
PER_DEGREE: Final = 100
"""Temperatures are in hundredths of degrees Celsius."""
MHZ_PER_THZ: Final = 1_000_000
MHZ_PER_STEP: Final = 100
"""The second of the three registers of a frequency counts tenths of GHz."""


class Register(IntEnum):
    """Registers that are used here."""

    NOP = 0x00
    MAKER = 0x02
    MODEL = 0x03
    SERIAL = 0x04
    TEXT = 0x0B
    """Two bytes of the text that was asked for last, then the next two."""
    STATUS_FATAL = 0x20
    CHANNEL = 0x30
    POWER_SET = 0x31
    OUTPUT = 0x32
    FIRST_THZ = 0x35
    FIRST_STEPS = 0x36
    FIRST_MHZ = 0x67
    """Unknown to lasers of edition 1.2."""
    POWER = 0x42
    TEMPERATURE = 0x43
    LOWEST_POWER = 0x50
    HIGHEST_POWER = 0x51
    LOWEST_THZ = 0x52
    LOWEST_STEPS = 0x53
    HIGHEST_THZ = 0x54
    HIGHEST_STEPS = 0x55


class Status(IntEnum):
    """What became of a question."""

    OK = 0
    REFUSED = 1
    TEXT = 2
    """The answer is so many bytes of text, to be fetched."""
    PENDING = 3
    """It is being done."""


class Refusal(IntEnum):
    """Why a question was refused."""

    NONE = 0x0
    NOT_IMPLEMENTED = 0x1
    NOT_WRITABLE = 0x2
    OUT_OF_RANGE = 0x3
    STILL_PENDING = 0x4
    STILL_STARTING = 0x5
    EXTENDED_ADDRESS = 0x6
    EXTENDED_READ_ONLY = 0x7
    FAILED = 0x8
    OUTPUT_IS_ON = 0x9
    INVALID_CONFIGURATION = 0xA
    VENDORS_OWN = 0xF


class Alarm(IntFlag):
    """What is out of its limits at this moment; upper half of ``STATUS_FATAL``."""

    POWER = 1 << 8
    TEMPERATURE = 1 << 9
    FREQUENCY = 1 << 10
    VENDORS_OWN = 1 << 11


FATAL: Final = 1 << 13
"""In ``STATUS_FATAL``: the laser asks for help at its fatal line."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the host asks."""

    register: int
    value: int = 0
    """16 bits; 0 if it only reads."""
    writes: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the laser answers."""

    status: Status
    register: int
    value: int
    """16 bits."""


def read(register: Register) -> bytes:
    """Return the question for a register."""
    return _frame(0, register, 0)


def write(register: Register, value: int) -> bytes:
    """Return the order to write a register; negative values in two's complement."""
    return _frame(WRITES, register, value & 0xFFFF)


def safe_order() -> bytes:
    """Return what makes it dark from any state, and asks whether it is."""
    return write(Register.OUTPUT, 0) + read(Register.OUTPUT)


def answered(answer: Answer) -> bytes:
    """Return an answer as the laser sends it."""
    return _frame(answer.status, answer.register, answer.value & 0xFFFF)


def damaged(register: int) -> bytes:
    """Return what the laser answers to a question whose parity is wrong."""
    return _frame(DAMAGED, register, 0)


def signed(value: int) -> int:
    """Return 16 bits as a signed number."""
    return value - (1 << 16) if value >> 15 else value


def alarms_of(value: int) -> Alarm:
    """Return what is out of its limits, of ``STATUS_FATAL``, if the laser calls that fatal."""
    return Alarm(value & 0x0F00) if value & FATAL else Alarm(0)


def in_registers(frequency_mhz: int) -> tuple[int, int, int]:
    """Return a frequency as THz, tenths of GHz and MHz."""
    thz, rest = divmod(frequency_mhz, MHZ_PER_THZ)
    return thz, *divmod(rest, MHZ_PER_STEP)


def of_registers(thz: int, steps: int, mhz: int = 0) -> int:
    """Return the frequency of three registers, MHz."""
    return thz * MHZ_PER_THZ + steps * MHZ_PER_STEP + mhz


def question_of(frame: bytes) -> Question | None:
    """Return the question of four bytes; None if they arrived damaged."""
    if not _is_whole(frame):
        return None
    value = int.from_bytes(frame[2:], "big")
    return Question(frame[1], value, bool(frame[0] & WRITES), bool(frame[0] & AGAIN))


class AnswerDecoder:
    """Cuts bytes into answers."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[Answer]:
        """Yield the answers that are complete now.

        Raises
        ------
        InstrumentGarbled
            If one arrived damaged, or says that its question did.
        """
        self._waiting += data
        while len(self._waiting) >= FRAME_BYTES:
            frame, self._waiting = self._waiting[:FRAME_BYTES], self._waiting[FRAME_BYTES:]
            if not _is_whole(frame):
                problem = f"{frame.hex(' ')} is no answer of an ITLA: its parity is wrong"
                raise InstrumentGarbled(problem)
            if frame[0] & DAMAGED:
                problem = f"{frame.hex(' ')}: the laser says that a question arrived damaged; check the cable"
                raise InstrumentGarbled(problem)
            yield Answer(Status(frame[0] & STATUS_MASK), frame[1], int.from_bytes(frame[2:], "big"))


def _frame(flags: int, register: int, value: int) -> bytes:
    body = bytes([flags, register, value >> 8, value & 0xFF])
    return bytes([flags | _parity(body) << 4]) + body[1:]


def _is_whole(frame: bytes) -> bool:
    return frame[0] >> 4 == _parity(frame)


def _dark() -> bytes:
    """Return the pattern of "done, ``OUTPUT`` is 0", with bit 2 of the first byte either way."""
    return b"|".join(re.escape(_frame(flags, Register.OUTPUT, 0)) for flags in (Status.OK, Status.OK | 1 << 2))


def _parity(frame: bytes) -> int:
    """Return the four parity bits of a frame, which stand in the upper half of its first byte."""
    mixed = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return mixed >> 4 ^ mixed & 0x0F


DARK: Final = _dark()
"""Found in what it answers to ``safe_order`` once its output is off."""
