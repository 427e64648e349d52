"""The TC200's texts: a command and CR; the same again, an answer if there is one, and a prompt.

Sources: the public drivers of QMI (Delft) and InstrumentKit. Temperatures are in degrees Celsius, powers in watts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from qnoded.errors import InstrumentFault, InstrumentGarbled

MIN_C: Final = 20.0
MAX_C: Final = 200.0
STEP_C: Final = 0.1
MIN_LIMIT_C: Final = 20.0
MAX_LIMIT_C: Final = 205.0
MIN_LIMIT_W: Final = 0.1
MAX_LIMIT_W: Final = 18.0

ASK_NAME: Final = "*idn?"
ASK_STATUS: Final = "stat?"
ASK_SETPOINT: Final = "tset?"
ASK_TEMPERATURE: Final = "tact?"
ASK_LIMIT: Final = "tmax?"
ASK_POWER_LIMIT: Final = "pmax?"
TOGGLE: Final = "ens"
"""Switches the heater on if it is off, and off if it is on."""
PROMPT: Final = re.compile(rb"[\r ]> ")
"""The status is followed by a space where everything else is followed by CR."""
NUMBER: Final = re.compile(r"([+-]?\d{1,4}(?:\.\d{0,3})?)(?: (?:C|Celsius|W))?")
OTHER_UNIT: Final = re.compile(r".*\d (?:K|Kelvin|F|Fahrenheit)")
REFUSED: Final = ("CMD_NOT_DEFINED", "CMD_ARG_RANGE_ERR", "CMD_ARG_INVALID")
LONGEST_ANSWER: Final = 400


class Status(IntFlag):
    """Bits of ``stat?``."""

    ENABLED = 0x01
    CYCLES = 0x02
    CELSIUS = 0x10
    FAHRENHEIT = 0x20
    ALARM = 0x40
    """Its sensor is missing or broken."""
    PAUSED = 0x80


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands before a prompt."""

    command: str
    """The one that is answered, as it was echoed."""
    text: str


class AnswerDecoder:
    """Cuts bytes into answers."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[Answer]:
        """Yield the answers that are complete now; prompts without a command are left out.

        Raises
        ------
        InstrumentGarbled
            If there is no text, or no end of it.
        """
        self._waiting += data
        while found := PROMPT.search(self._waiting):
            raw, self._waiting = self._waiting[: found.start()], self._waiting[found.end() :]
            lines = [line.strip() for line in raw.decode("latin-1").split("\r")]
            if not all(line.isascii() and line.isprintable() for line in lines):
                problem = f"{raw!r} is no text of a TC200"
                raise InstrumentGarbled(problem)
            command, *texts = [line for line in lines if line] or [""]
            if command:
                yield Answer(command, " ".join(texts))
        if len(self._waiting) > LONGEST_ANSWER:
            problem = f"{len(self._waiting)} bytes without a prompt are no answer of a TC200; check address and speed"
            raise InstrumentGarbled(problem)


def written(command: str) -> bytes:
    """Return a command as it is sent."""
    return f"{command}\r".encode()


def granted(answer: Answer) -> str:
    """Return the text of an answer.

    Raises
    ------
    InstrumentFault
        If it is a refusal.
    """
    for refusal in REFUSED:
        if refusal in answer.text:
            problem = f"the TC200 refuses {answer.command}: {answer.text}"
            raise InstrumentFault(problem)
    return answer.text


def number_of(answer: Answer) -> float:
    """Return the number of an answer, degrees Celsius or watts.

    Raises
    ------
    InstrumentFault
        If it is in another unit.
    InstrumentGarbled
        If it is none.
    """
    text = granted(answer)
    if found := NUMBER.fullmatch(text):
        return float(found[1])
    if OTHER_UNIT.fullmatch(text):
        problem = f"the TC200 shows {text}; set it to Celsius at its front"
        raise InstrumentFault(problem)
    problem = f"{answer.command} was answered with {text!r}, which is no number"
    raise InstrumentGarbled(problem)


def status_of(answer: Answer) -> Status:
    """Return the status.

    Raises
    ------
    InstrumentGarbled
        If it is none.
    """
    text = granted(answer)
    if re.fullmatch("[0-9A-Fa-f]{1,2}", text):
        return Status(int(text, 16))
    problem = f"stat? was answered with {text!r}, which is no status"
    raise InstrumentGarbled(problem)
